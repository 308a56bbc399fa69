#include "core/activation.h"

#include "core/enum_names.h"

namespace fusednet {

namespace {

// In the order of the enumeration.
constexpr const char* names[] = {"identity", "sigmoid", "tanh",     "relu", "leaky_relu", "elu",
                                 "gelu",     "silu",    "softplus", "exp",  "softmax"};

}  // namespace

Activation activation_from_name(const std::string& name) {
    return enum_from_name<Activation>("activation", names, name);
}

const char* activation_name(Activation f) { return names[static_cast<int>(f)]; }

}  // namespace fusednet
