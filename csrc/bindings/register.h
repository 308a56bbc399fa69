// One function a topic; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace fusednet {

class PyNetwork;

void register_runtime(pybind11::module_&);                                 // errors, build_info, threads
void register_optimizer(pybind11::module_&);                               // Optimizer
void register_network(pybind11::module_&);                                 // Network
void register_training(pybind11::module_&, pybind11::class_<PyNetwork>&);  // its methods that train
void register_functional(pybind11::module_&);                              // activations and losses on arrays

}  // namespace fusednet
