#include "bindings/register.h"

// The core locks what threads share, or refuses (core/busy.h): it needs no GIL.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
    m.doc() = "The compiled core of fusednet.";
    fusednet::register_runtime(m);
    fusednet::register_optimizer(m);
    fusednet::register_network(m);
    fusednet::register_functional(m);
}
