#include "core/optimizer.h"

#include <cmath>

#include "core/enum_names.h"

namespace fusednet {

namespace {

// In the order of the enumeration.
constexpr const char* names[] = {"sgd",     "momentum",       "nesterov",       "adam",      "adamw",
                                 "rmsprop", "inner_momentum", "inner_nesterov", "inner_adam"};

}  // namespace

UpdateRule update_rule_from_name(const std::string& name) {
    return enum_from_name<UpdateRule>("optimizer rule", names, name);
}

const char* update_rule_name(UpdateRule rule) { return names[static_cast<int>(rule)]; }

UpdateArguments update_arguments(const Optimizer& o, std::uint64_t step) {
    const auto t = static_cast<double>(step);
    constexpr std::uint64_t interval = 32;  // steps; it is another pass over the moments
    return {o.rule,
            o.learning_rate,
            o.weight_decay,
            o.beta1,
            o.beta2,
            o.epsilon,
            1.0 - std::pow(o.beta1, t),
            1.0 - std::pow(o.beta2, t),
            step % interval == 0,
            step % 2 == 1};
}

}  // namespace fusednet
