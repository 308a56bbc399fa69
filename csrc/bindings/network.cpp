#include "core/network.h"

#include <pybind11/stl.h>

#include <variant>

#include "bindings/arrays.h"
#include "bindings/register.h"
#include "core/activation.h"
#include "core/shuffle.h"

namespace fusednet {

namespace {

// Releases the GIL where the work takes longer than about 10 µs.
class ReleaseFor {
public:
    explicit ReleaseFor(double flops) {
        if (flops > 5e5) release_.emplace();
    }

private:
    std::optional<py::gil_scoped_release> release_;
};

template <class T>
double flops(const Network<T>& net, std::size_t rows) {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(net.parameters().size());
}

// A Python callable f(y_pred, y_true) -> (value, gradient) as the core's custom loss. It gets copies: it may keep them.
template <class T>
CustomLoss<T> custom_loss(const py::object& function) {
    return [function](MatrixView<const T> prediction, MatrixView<const T> target, MatrixView<T> gradient) {
        const py::gil_scoped_acquire gil;
        const auto copy = [](const MatrixView<const T>& m) {
            py::array_t<T> a({m.rows, m.columns});
            for (std::size_t i = 0; i < m.rows; ++i) {
                std::copy_n(m.data + i * m.ld, m.columns, a.mutable_data() + i * m.columns);
            }
            return a;
        };
        const py::object result = function(copy(prediction), copy(target));
        if (!py::isinstance<py::tuple>(result) || py::len(result) != 2) {
            fail<TypeError>("loss function: expected a tuple (value, gradient), received ",
                            std::string(py::str(py::type::of(result))));
        }
        const auto parts = py::reinterpret_borrow<py::tuple>(result);
        const auto g = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(parts[1]);
        if (!g) throw py::error_already_set();
        if (g.ndim() != 2 || static_cast<std::size_t>(g.shape(0)) != gradient.rows ||
            static_cast<std::size_t>(g.shape(1)) != gradient.columns) {
            fail("loss function: expected a gradient of shape (", gradient.rows, ", ", gradient.columns,
                 ") as y_pred's, received ", shape_text(g));
        }
        T excess = 0;
        for (std::size_t i = 0; i < gradient.rows; ++i) {
            for (std::size_t j = 0; j < gradient.columns; ++j) {
                const T x = g.data()[i * gradient.columns + j];
                excess += x - x;
                gradient.data[i * gradient.ld + j] = x;
            }
        }
        check<DivergenceError>(excess == T(0), "the loss function's gradient is not finite");
        return parts[0].cast<double>();
    };
}

template <class T>
Samples samples_for(const Network<T>& net, const py::array& X, const py::array& y, const py::object& weight) {
    Samples s;
    s.x = net.as_inputs(as_rows(X, net.inputs(), false, "X"));
    s.y = as_matrix(y, "y");
    if (s.y.rows != s.x.rows) {
        fail("y: expected ", s.x.rows, " rows as X has, received shape ", shape_text(y));
    }
    const bool flat = y.ndim() == 1;
    if (net.config().loss == Loss::cross_entropy && flat) {
        if (is_floating(s.y.dtype)) {
            throw TypeError(text("y: expected integer class labels of shape (n,), or probabilities of shape (n, ",
                                 net.outputs(), "); received dtype ", dtype_name(s.y.dtype), " of shape ",
                                 shape_text(y)));
        }
        s.labels = true;
    } else if (net.has_custom_loss()) {
        check(weight.is_none(),
              "sample_weight: expected None, as a loss function of one's own gives the value of the whole batch");
        if (s.y.columns == 0) {
            fail("y: expected at least one column, received shape ", shape_text(y));
        }
    } else {
        if (s.y.columns != net.outputs()) {
            fail("y: expected shape (n, ", net.outputs(), ")", net.outputs() == 1 ? " or (n,)" : "", ", received ",
                 shape_text(y));
        }
    }
    s.weight = as_weights(weight, s.x.rows);
    return s;
}

// The one class that Python sees, for either element type.
class PyNetwork {
public:
    template <class T>
    using Ptr = std::shared_ptr<Network<T>>;

    PyNetwork(std::variant<Ptr<float>, Ptr<double>> net) : net_(std::move(net)) {}

    static PyNetwork create(const std::vector<std::size_t>& widths, const std::vector<std::string>& activations,
                            const std::vector<bool>& bias, const std::vector<double>& dropout, const py::object& loss,
                            double loss_parameter, double l2, const std::string& dtype, std::uint64_t seed,
                            bool scikit_learn) {
        const std::size_t count = widths.empty() ? 0 : widths.size() - 1;
        check(count >= 1 && activations.size() == count && bias.size() == count && dropout.size() + 1 == count,
              "expected widths of at least two, and one activation and bias a layer, one dropout a hidden layer");
        NetworkConfig config;
        for (std::size_t l = 0; l < count; ++l) {
            check(widths[l] > 0 && widths[l + 1] > 0, "layer widths: expected at least 1, received 0");
            check(static_cast<double>(widths[l]) * static_cast<double>(widths[l + 1]) < 1e15,
                  "layer widths: ", widths[l], " by ", widths[l + 1], " weights are more than memory can hold");
            const Activation f = activation_from_name(activations[l]);
            check(f != Activation::softmax || l + 1 == count,
                  "softmax is an output activation, received it for a hidden layer");
            config.layers.push_back({widths[l], widths[l + 1], f, bias[l], l + 1 < count ? dropout[l] : 0.0});
        }
        const bool custom = !py::isinstance<py::str>(loss);
        config.loss = custom ? Loss::custom : loss_from_name(loss.cast<std::string>());
        config.loss_parameter = loss_parameter;
        config.l2 = l2;
        config.seed = seed;
        config.scikit_learn = scikit_learn;
        const Activation output = config.layers.back().activation;
        check(config.loss != Loss::cross_entropy || output == Activation::softmax,
              "cross_entropy needs output='softmax', received '", activation_name(output), "'");
        check(config.loss != Loss::binary_cross_entropy || output == Activation::sigmoid,
              "binary_cross_entropy needs output='sigmoid', received '", activation_name(output), "'");
        if (dtype == "float32") return make<float>(config, custom ? loss : py::none());
        check(dtype == "float64", "dtype: expected 'float32' or 'float64', received '", dtype, "'");
        return make<double>(config, custom ? loss : py::none());
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

    py::array flat(bool gradient) const {
        return visit([&](auto& net) {
            const auto& buffer = gradient ? net.gradient() : net.parameters();
            return view(buffer, {static_cast<py::ssize_t>(buffer.size())});
        });
    }

private:
    template <class T>
    static PyNetwork make(const NetworkConfig& config, const py::object& loss) {
        return PyNetwork(std::make_shared<Network<T>>(config, loss.is_none() ? CustomLoss<T>() : custom_loss<T>(loss)));
    }

    std::variant<Ptr<float>, Ptr<double>> net_;
};

template <class Net>
using ElementOf = typename std::decay_t<Net>::Element;

template <class T>
py::array new_matrix(std::size_t rows, std::size_t columns, bool flat) {
    return flat ? py::array_t<T>(static_cast<py::ssize_t>(columns)) : py::array_t<T>({rows, columns});
}

bool copy_parameters(const PyNetwork& self, py::array& out) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        check(py::isinstance<py::array_t<T, py::array::c_style>>(out) && out.writeable() &&
                  static_cast<std::size_t>(out.size()) == net.parameters().size(),
              "out: expected a writable, contiguous array like parameters");
        return net.copy_parameters(static_cast<T*>(out.mutable_data()));
    });
}

py::array forward(const PyNetwork& self, const py::array& X, bool training) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        const InputMatrix x = net.as_inputs(as_rows(X, net.inputs(), true, "X"));
        py::array out = new_matrix<T>(x.rows, net.outputs(), X.ndim() == 1);
        auto* to = static_cast<T*>(out.mutable_data());
        const ReleaseFor release(flops(net, x.rows));
        net.forward(x, training, to);
        return out;
    });
}

py::array backward(const PyNetwork& self, const py::array& gradient) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        const bool column = net.outputs() == 1 && gradient.ndim() == 1 && gradient.shape(0) > 1;
        const InputMatrix dy =
            column ? as_matrix(gradient, "gradient") : as_rows(gradient, net.outputs(), true, "gradient");
        py::array out = new_matrix<T>(dy.rows, net.inputs(), gradient.ndim() == 1 && !column);
        auto* to = static_cast<T*>(out.mutable_data());
        const ReleaseFor release(3 * flops(net, dy.rows));
        net.backward(dy, to);
        return out;
    });
}

// NumPy has one dtype object for each native type: identity is the usual case, and quick.
template <class T>
bool has_dtype(const py::array& a) {
    return a.dtype().is(py::dtype::of<T>()) || py::isinstance<py::array_t<T>>(a);
}

// `out` as the matrix of that shape that a prediction is written to.
template <class T>
py::array as_output(const py::object& out, std::size_t rows, std::size_t columns, bool flat) {
    if (!py::isinstance<py::array>(out) || !has_dtype<T>(py::reinterpret_borrow<py::array>(out))) {
        fail<TypeError>("out: expected a ", sizeof(T) == 4 ? "float32" : "float64", " array, received ",
                        py::isinstance<py::array>(out) ? "dtype " + std::string(py::str(out.attr("dtype")))
                                                       : std::string(py::str(py::type::of(out))));
    }
    auto result = py::reinterpret_borrow<py::array>(out);
    const auto m = static_cast<py::ssize_t>(rows), n = static_cast<py::ssize_t>(columns);
    const bool fits = flat ? result.ndim() == 1 && result.shape(0) == n
                           : result.ndim() == 2 && result.shape(0) == m && result.shape(1) == n;
    if (!fits) {
        fail("out: expected shape ", flat ? text("(", n, ",)") : text("(", m, ", ", n, ")"), ", received ",
             shape_text(result));
    }
    check(result.writeable(), "out: expected a writable array, received a read-only one");
    return result;
}

py::array predict(const PyNetwork& self, const py::array& X, const py::object& out, bool logits) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        const InputMatrix x = net.as_inputs(as_rows(X, net.inputs(), true, "X"));
        const bool flat = X.ndim() == 1;
        py::array result =
            out.is_none() ? new_matrix<T>(x.rows, net.outputs(), flat) : as_output<T>(out, x.rows, net.outputs(), flat);
        constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
        const std::ptrdiff_t row_stride = flat ? 0 : result.strides(0), column_stride = result.strides(flat ? 0 : 1);
        check(row_stride % size == 0 && column_stride % size == 0,
              "out: expected strides that are multiples of the element size");
        auto* to = static_cast<T*>(result.mutable_data());
        const ReleaseFor release(flops(net, x.rows));
        net.predict(x, to, row_stride / size, column_stride / size, logits);
        return result;
    });
}

void standardize(const PyNetwork& self, const py::object& mean, const py::object& inverse_deviation) {
    self.visit([&](auto& net) {
        if (mean.is_none()) return net.standardize(nullptr, nullptr);
        using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;
        const auto m = mean.cast<Array>(), d = inverse_deviation.cast<Array>();
        const auto inputs = static_cast<py::ssize_t>(net.inputs());
        if (m.ndim() != 1 || m.size() != inputs || d.ndim() != 1 || d.size() != inputs) {
            fail("standardize: expected two arrays of shape (", inputs, ",), received ", shape_text(m), " and ",
                 shape_text(d));
        }
        net.standardize(m.data(), d.data());
    });
}

void check_samples(const PyNetwork& self, const py::array& X, const py::array& y) {
    self.visit([&](auto& net) { samples_for(net, X, y, py::none()); });
}

double loss(const PyNetwork& self, const py::array& X, const py::array& y, const py::object& weight) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        const ReleaseFor release(flops(net, s.x.rows));
        return net.loss(s);
    });
}

double loss_and_gradient(const PyNetwork& self, const py::array& X, const py::array& y, const py::object& weight) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        const ReleaseFor release(3 * flops(net, s.x.rows));
        return net.loss_and_gradient(s);
    });
}

double train_step(const PyNetwork& self, const py::array& X, const py::array& y, const Optimizer& optimizer,
                  const py::object& weight) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        const ReleaseFor release(3 * flops(net, s.x.rows));
        return net.train_step(s, optimizer);
    });
}

using RowOrder = py::array_t<std::int64_t, py::array::c_style>;

void check_order(const RowOrder& order, std::size_t rows) {
    if (order.ndim() != 1 || order.size() == 0) {
        fail("order: expected at least one row index in one dimension, received shape ", shape_text(order));
    }
    // As unsigned numbers, negative indices are the largest.
    const std::int64_t *first = order.data(), *last = first + order.size();
    std::uint64_t largest = 0;
    for (const std::int64_t* i = first; i != last; ++i) largest = std::max(largest, static_cast<std::uint64_t>(*i));
    if (largest >= rows) {
        fail("order: expected row indices from 0 to ", rows - 1, ", received ", *std::min_element(first, last), " to ",
             *std::max_element(first, last));
    }
}

double part_gradient(const PyNetwork& self, const py::array& X, const py::array& y, const RowOrder& order,
                     const py::object& weight, double share, std::size_t first_row, const py::object& after_layer) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        check_order(order, s.x.rows);
        const RowSelection rows{order.data(), 0, static_cast<std::size_t>(order.size())};
        const std::function<void(std::size_t)> call = [&](std::size_t layer) {
            const py::gil_scoped_acquire gil;
            after_layer(layer);
        };
        const ReleaseFor release(3 * flops(net, rows.count));
        return net.part_gradient(s, rows, {share, first_row, after_layer.is_none() ? nullptr : &call});
    });
}

void update(const PyNetwork& self, const Optimizer& optimizer) {
    self.visit([&](auto& net) {
        const ReleaseFor release(flops(net, 1));
        net.update(optimizer);
    });
}

double train_epoch(const PyNetwork& self, const py::array& X, const py::array& y, const Optimizer& optimizer,
                   std::size_t batch_size, const py::object& order, const py::object& weight,
                   const py::object& progress) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        check(batch_size > 0, "batch_size: expected at least 1, received 0");
        const std::int64_t* index = nullptr;
        std::size_t count = s.x.rows;
        RowOrder rows;
        if (!order.is_none()) {
            rows = order.cast<RowOrder>();
            check_order(rows, s.x.rows);
            index = rows.data();
            count = static_cast<std::size_t>(rows.size());
        }
        const py::gil_scoped_release release;
        return net.train_epoch(s, optimizer, batch_size, index, count, [&](std::size_t rows_done) {
            const py::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            if (!progress.is_none()) progress(rows_done);
        });
    });
}

py::object get_optimizer_state(const PyNetwork& self, const Optimizer& optimizer) {
    return self.visit([&](auto& net) -> py::object {
        const Busy busy = net.claim();
        const auto* state = net.find_state(optimizer);
        if (state == nullptr) return py::none();
        const auto copy = [](const auto& buffer) {
            return py::array_t<ElementOf<decltype(net)>>(static_cast<py::ssize_t>(buffer.size()), buffer.data());
        };
        py::dict result;
        result["step"] = state->step;
        result["first"] = copy(state->first);
        result["second"] = copy(state->second);
        return result;
    });
}

void set_optimizer_state(const PyNetwork& self, const Optimizer& optimizer, const py::object& saved) {
    self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        if (saved.is_none()) {
            const Busy busy = net.claim();
            return net.drop_state(optimizer);
        }
        const auto values = saved.cast<py::dict>();
        using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
        const auto first = values["first"].template cast<Array>(), second = values["second"].template cast<Array>();
        const Busy busy = net.claim();
        auto& state = net.state(optimizer);
        check(static_cast<std::size_t>(first.size()) == state.first.size() &&
                  static_cast<std::size_t>(second.size()) == state.second.size(),
              "optimizer state: expected ", state.first.size(), " and ", state.second.size(),
              " elements for this optimizer and network, received ", first.size(), " and ", second.size());
        std::copy_n(first.data(), first.size(), state.first.data());
        std::copy_n(second.data(), second.size(), state.second.data());
        state.step = values["step"].template cast<std::uint64_t>();
    });
}

}  // namespace

void register_network(py::module_& m) {
    using py::arg;
    m.def(
        "random_order",
        [](std::size_t rows, std::uint64_t seed) {
            py::array_t<std::int64_t> order(static_cast<py::ssize_t>(rows));
            std::int64_t* to = order.mutable_data();
            const ReleaseFor release(50.0 * static_cast<double>(rows));
            random_order(to, rows, seed);
            return order;
        },
        arg("rows"), arg("seed"));
    py::class_<PyNetwork>(m, "Network", "A dense network over one flat parameter buffer and one flat gradient buffer.")
        .def(py::init(&PyNetwork::create), arg("widths"), arg("activations"), arg("bias"), arg("dropout"),
             py::kw_only(), arg("loss"), arg("loss_parameter") = 1.0, arg("l2") = 0.0, arg("dtype") = "float32",
             arg("seed") = 0, arg("scikit_learn") = false)
        .def_property_readonly("parameters", [](const PyNetwork& n) { return n.flat(false); })
        .def("copy_parameters", &copy_parameters, arg("out"))
        .def_property_readonly("gradient", [](const PyNetwork& n) { return n.flat(true); })
        .def(
            "weights", [](const PyNetwork& n, std::size_t l) { return n.layer_view(l, false, false); }, arg("layer"))
        .def(
            "bias", [](const PyNetwork& n, std::size_t l) { return n.layer_view(l, false, true); }, arg("layer"))
        .def(
            "weights_gradient", [](const PyNetwork& n, std::size_t l) { return n.layer_view(l, true, false); },
            arg("layer"))
        .def(
            "bias_gradient", [](const PyNetwork& n, std::size_t l) { return n.layer_view(l, true, true); },
            arg("layer"))
        .def("layer", &PyNetwork::layer, arg("index"))
        .def(
            "get_trainable",
            [](const PyNetwork& n, std::size_t l) {
                return n.visit([&](auto& net) {
                    PyNetwork::check_layer(net, l);
                    return net.layers()[l].trainable;
                });
            },
            arg("layer"))
        .def(
            "set_trainable",
            [](const PyNetwork& n, std::size_t l, bool trainable) {
                n.visit([&](auto& net) {
                    PyNetwork::check_layer(net, l);
                    const Busy busy = net.claim();
                    net.set_trainable(l, trainable);
                });
            },
            arg("layer"), arg("trainable"))
        .def_property(
            "l2", [](const PyNetwork& n) { return n.visit([](auto& net) { return net.l2(); }); },
            [](const PyNetwork& n, double value) {
                n.visit([&](auto& net) {
                    const Busy busy = net.claim();
                    net.set_l2(value);
                });
            })
        .def_property(
            "seed", [](const PyNetwork& n) { return n.visit([](auto& net) { return net.seed(); }); },
            [](const PyNetwork& n, std::uint64_t seed) { n.visit([&](auto& net) { net.set_seed(seed); }); })
        .def_property(
            "dropout_step", [](const PyNetwork& n) { return n.visit([](auto& net) { return net.dropout_step(); }); },
            [](const PyNetwork& n, std::uint64_t step) {
                n.visit([&](auto& net) {
                    const Busy busy = net.claim();
                    net.set_dropout_step(step);
                });
            })
        .def("standardize", &standardize, arg("mean"), arg("inverse_deviation"))
        .def("forward", &forward, arg("X"), arg("training") = true)
        .def("backward", &backward, arg("gradient"))
        .def("predict", &predict, arg("X"), arg("out") = py::none(), arg("logits") = false)
        .def("check_samples", &check_samples, arg("X"), arg("y"))
        .def("loss", &loss, arg("X"), arg("y"), arg("sample_weight") = py::none())
        .def("loss_and_gradient", &loss_and_gradient, arg("X"), arg("y"), arg("sample_weight") = py::none())
        .def("train_step", &train_step, arg("X"), arg("y"), arg("optimizer"), arg("sample_weight") = py::none())
        .def("part_gradient", &part_gradient, arg("X"), arg("y"), arg("order"), arg("sample_weight") = py::none(),
             py::kw_only(), arg("share") = 1.0, arg("first_row") = 0, arg("after_layer") = py::none())
        .def("update", &update, arg("optimizer"))
        .def("train_epoch", &train_epoch, arg("X"), arg("y"), arg("optimizer"), arg("batch_size"),
             arg("order") = py::none(), arg("sample_weight") = py::none(), arg("progress") = py::none())
        .def("get_optimizer_state", &get_optimizer_state, arg("optimizer"))
        .def("set_optimizer_state", &set_optimizer_state, arg("optimizer"), arg("state"));
}

}  // namespace fusednet
