// One function a topic; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace fusednet {

void register_runtime(pybind11::module_&);     // errors, build_info, threads
void register_optimizer(pybind11::module_&);   // Optimizer
void register_network(pybind11::module_&);     // Network
void register_functional(pybind11::module_&);  // activations and losses on arrays

}  // namespace fusednet
