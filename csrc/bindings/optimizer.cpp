#include "core/optimizer.h"

#include <pybind11/stl.h>

#include "bindings/register.h"

namespace fusednet {

namespace py = pybind11;

void register_optimizer(py::module_& m) {
    py::class_<Optimizer, std::shared_ptr<Optimizer>>(
        m, "Optimizer", "The hyperparameters of an optimizer. Its state is kept by each network that it trains.")
        .def(py::init([](const std::string& rule, double learning_rate, double beta1, double beta2, double epsilon,
                         double weight_decay, std::optional<double> clip_norm) {
                 Optimizer o;
                 o.rule = update_rule_from_name(rule);
                 o.learning_rate = learning_rate;
                 o.beta1 = beta1;
                 o.beta2 = beta2;
                 o.epsilon = epsilon;
                 o.weight_decay = weight_decay;
                 o.clip_norm = clip_norm;
                 return std::make_shared<Optimizer>(std::move(o));
             }),
             py::arg("rule"), py::kw_only(), py::arg("learning_rate"), py::arg("beta1") = 0.0, py::arg("beta2") = 0.0,
             py::arg("epsilon") = 0.0, py::arg("weight_decay") = 0.0, py::arg("clip_norm") = py::none())
        .def_property_readonly("rule", [](const Optimizer& o) { return update_rule_name(o.rule); })
        .def(
            "twin", [](const Optimizer& o) { return std::make_shared<Optimizer>(o); },
            "One with a learning rate of its own that networks take for this one.")
        .def_readwrite("learning_rate", &Optimizer::learning_rate);
}

}  // namespace fusednet
