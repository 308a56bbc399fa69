#include <pybind11/numpy.h>

#include "bindings/register.h"

// The core locks what threads share, or refuses (core/busy.h): it needs no GIL.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
    m.doc() = "The compiled core of fusednet.";
    // Has NumPy's C interface looked up, which runs code of Python's. At its first use a daemon thread might be amid
    // that code when the interpreter shuts down, and unwinding pybind11's frames would end the process (see gil.h).
    pybind11::dtype::of<double>();
    fusednet::register_runtime(m);
    fusednet::register_optimizer(m);
    fusednet::register_network(m);
    fusednet::register_functional(m);
}
