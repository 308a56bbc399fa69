// The one class that Python sees for a network, of either element type, and what its methods share.
#pragma once

#include <pybind11/stl.h>

#include <variant>

#include "bindings/arrays.h"
#include "bindings/custom_loss.h"
#include "bindings/gil.h"
#include "core/network.h"

namespace fusednet {

template <class T>
double flops(const Network<T>& net, std::size_t rows) {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(net.parameters().size());
}

// For the classes of rows, or of a `flat` one; the second axis is for several labels.
template <class T>
py::array new_classes(const Network<T>& net, std::size_t rows, bool flat) {
    std::vector<py::ssize_t> shape;
    if (!flat) shape.push_back(static_cast<py::ssize_t>(rows));
    if (net.labels() > 1) shape.push_back(static_cast<py::ssize_t>(net.labels()));
    return py::array_t<std::int64_t>(shape);
}

class PyNetwork {
public:
    template <class T>
    using Ptr = std::shared_ptr<Network<T>>;

    explicit PyNetwork(std::variant<Ptr<float>, Ptr<double>> net) : net_(std::move(net)) {}

    template <class T>
    static PyNetwork make(const NetworkConfig& config, const py::object& loss) {
        if (loss.is_none()) return PyNetwork(std::make_shared<Network<T>>(config));
        auto function = std::make_shared<py::object>(loss);
        PyNetwork net(std::make_shared<Network<T>>(config, custom_loss<T>(function)));
        net.loss_ = std::move(function);
        return net;
    }

    template <class Body>
    auto visit(Body body) const {
        return std::visit([&](const auto& net) { return body(*net); }, net_);
    }

    PyNetwork layer(std::size_t index) const {
        return std::visit(
            [&](const auto& net) {
                using N = typename std::decay_t<decltype(net)>::element_type;
                check_layer(*net, index);
                return PyNetwork(std::make_shared<N>(*net, index));
            },
            net_);
    }

    template <class T>
    static void check_layer(const Network<T>& net, std::size_t index) {
        check(index < net.layers().size(), "layer: expected an index below ", net.layers().size(), ", received ",
              index);
    }

    // A layer's part of one of the flat buffers: its weights, or its bias (None where it has none).
    py::object layer_view(std::size_t index, bool gradient, bool bias) const {
        return visit([&](auto& net) -> py::object {
            check_layer(net, index);
            const auto& l = net.layers()[index];
            const auto& buffer = gradient ? net.gradient() : net.parameters();
            const auto in = static_cast<py::ssize_t>(l.in), out = static_cast<py::ssize_t>(l.out);
            if (!bias) return view(buffer.slice(net.offset(index), l.in * l.out), {in, out});
            if (!l.has_bias) return py::none();
            return view(buffer.slice(net.offset(index) + l.in * l.out, l.out), {out});
        });
    }

    // The one reference to a Python object, which may lead back here.
    py::object* loss() const { return loss_.get(); }

    py::array flat(bool gradient) const {
        return visit([&](auto& net) {
            const auto& buffer = gradient ? net.gradient() : net.parameters();
            return view(buffer, {static_cast<py::ssize_t>(buffer.size())});
        });
    }

private:
    std::variant<Ptr<float>, Ptr<double>> net_;
    std::shared_ptr<py::object> loss_;  // a callable
};

template <class Net>
using ElementOf = typename std::decay_t<Net>::Element;

}  // namespace fusednet
