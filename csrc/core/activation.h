// The activations by name.
#pragma once

#include <string>

#include "kernels/kernel_table.h"

namespace fusednet {

Activation activation_from_name(const std::string&);  // throws std::invalid_argument listing the known names
const char* activation_name(Activation);

}  // namespace fusednet
