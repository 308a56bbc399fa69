// Hyperparameters of an optimizer, and the state that a network keeps for each optimizer it was trained with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/buffer.h"
#include "kernels/kernel_table.h"

namespace fusednet {

UpdateRule update_rule_from_name(const std::string&);  // throws std::invalid_argument listing the known names
const char* update_rule_name(UpdateRule);

struct Optimizer {
    UpdateRule rule = UpdateRule::sgd;
    double learning_rate = 0.01;
    double beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
    std::optional<double> clip_norm;
    std::shared_ptr<const char> identity = std::make_shared<char>();  // networks know their optimizers by it

    // Plain SGD without clipping needs no stored gradient: the update goes into the weight-gradient product.
    bool fusible() const { return rule == UpdateRule::sgd && !clip_norm; }
};

template <class T>
struct OptimizerState {
    std::weak_ptr<const char> optimizer;
    std::uint64_t step = 0;
    Buffer<T> first, second;  // velocity or first moment; second moment; of size 0 where the rule has none
};

constexpr bool keeps_first(UpdateRule r) { return r != UpdateRule::sgd && r != UpdateRule::rmsprop; }
constexpr bool keeps_second(UpdateRule r) {
    return r == UpdateRule::adam || r == UpdateRule::adamw || r == UpdateRule::rmsprop || r == UpdateRule::inner_adam;
}

// The arguments of step number `step` (from 1).
UpdateArguments update_arguments(const Optimizer&, std::uint64_t step);

}  // namespace fusednet
