#include "bindings/register.h"

PYBIND11_MODULE(_core, m) {
    m.doc() = "The compiled core of fusednet.";
    fusednet::register_runtime(m);
    fusednet::register_optimizer(m);
    fusednet::register_network(m);
    fusednet::register_functional(m);
}
