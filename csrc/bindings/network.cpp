// A network's construction, its settings and views, forward, backward and prediction.
#include "bindings/py_network.h"
#include "bindings/register.h"
#include "core/activation.h"

namespace fusednet {

namespace {

// What Python's garbage collector asks for: the loss function is all that a network holds of Python.
const py::custom_type_setup collected([](PyHeapTypeObject* type) {
    type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    type->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
        Py_VISIT(Py_TYPE(self));
        if (!py::detail::is_holder_constructed(self)) return 0;
        if (const py::object* loss = py::cast<PyNetwork&>(py::handle(self)).loss()) Py_VISIT(loss->ptr());
        return 0;
    };
    type->ht_type.tp_clear = [](PyObject* self) -> int {
        if (!py::detail::is_holder_constructed(self)) return 0;
        if (py::object* loss = py::cast<PyNetwork&>(py::handle(self)).loss()) *loss = py::object();
        return 0;
    };
});

PyNetwork create(const std::vector<std::size_t>& widths, const std::vector<std::string>& activations,
                 const std::vector<bool>& bias, const std::vector<double>& dropout, const py::object& loss,
                 double loss_parameter, double l2, const std::string& dtype, std::uint64_t seed, bool scikit_learn) {
    const std::size_t count = widths.empty() ? 0 : widths.size() - 1;
    check(count >= 1 && activations.size() == count && bias.size() == count && dropout.size() + 1 == count,
          "expected widths of at least two, and one activation and bias a layer, one dropout a hidden layer");
    NetworkConfig config;
    for (std::size_t l = 0; l < count; ++l) {
        check(widths[l] > 0 && widths[l + 1] > 0, "layer widths: expected at least 1, received 0");
        check(static_cast<double>(widths[l]) * static_cast<double>(widths[l + 1]) < 1e15, "layer widths: ", widths[l],
              " by ", widths[l + 1], " weights are more than memory can hold");
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
    if (dtype == "float32") return PyNetwork::make<float>(config, custom ? loss : py::none());
    check(dtype == "float64", "dtype: expected 'float32' or 'float64', received '", dtype, "'");
    return PyNetwork::make<double>(config, custom ? loss : py::none());
}

template <class T>
py::array new_matrix(std::size_t rows, std::size_t columns, bool flat) {
    const py::ssize_t shape[] = {static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)};
    const auto& numpy = py::detail::npy_api::get();  // pybind11's own way puts shape and strides into vectors first
    PyObject* a = numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, py::dtype::of<T>().release().ptr(), flat ? 1 : 2,
                                              shape + (flat ? 1 : 0), nullptr, nullptr, 0, nullptr);
    if (a == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(a);
}

bool copy_parameters(const PyNetwork& self, py::array& out) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        check(py::isinstance<py::array_t<T, py::array::c_style>>(out) && out.writeable() && is_aligned(out) &&
                  static_cast<std::size_t>(out.size()) == net.parameters().size(),
              "out: expected a writable, contiguous array like parameters");
        return net.copy_parameters(static_cast<T*>(out.mutable_data()));
    });
}

py::array forward(const PyNetwork& self, const py::array& X, bool training) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        const InputMatrix x = as_rows(X, net.inputs(), true, "X");
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
    check(is_aligned(result), "out: expected an aligned array, received one whose elements lie at odd addresses");
    return result;
}

py::array predict(const PyNetwork& self, const py::array& X, const py::object& out, bool logits) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        InputMatrix x = as_rows(X, net.inputs(), true, "X");
        const bool flat = X.ndim() == 1;
        py::array result =
            out.is_none() ? new_matrix<T>(x.rows, net.outputs(), flat) : as_output<T>(out, x.rows, net.outputs(), flat);
        py::object own;
        if (!out.is_none() && may_overlap(X, result)) {  // rows are written before the last are read
            own = call_python(X.attr("copy"), py::tuple());
            x = as_rows(own, net.inputs(), true, "X");
        }
        const auto standardization = net.standardization();
        x.standardization = standardization.get();
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

py::array predict_classes(const PyNetwork& self, const py::array& X) {
    return self.visit([&](auto& net) {
        InputMatrix x = as_rows(X, net.inputs(), true, "X");
        const auto standardization = net.standardization();
        x.standardization = standardization.get();
        py::array classes = new_classes(net, x.rows, X.ndim() == 1);
        auto* to = static_cast<std::int64_t*>(classes.mutable_data());
        const ReleaseFor release(flops(net, x.rows));
        net.predict_classes(x, to);
        return classes;
    });
}

void standardize(const PyNetwork& self, const py::object& mean, const py::object& inverse_deviation) {
    self.visit([&](auto& net) {
        if (mean.is_none()) return net.standardize(nullptr);
        const Contiguous<double> m = contiguous<double>(mean), d = contiguous<double>(inverse_deviation);
        const auto inputs = static_cast<py::ssize_t>(net.inputs());
        if (m.ndim() != 1 || m.size() != inputs || d.ndim() != 1 || d.size() != inputs) {
            fail("standardize: expected two arrays of shape (", inputs, ",), received ", shape_text(m), " and ",
                 shape_text(d));
        }
        net.standardize(std::make_shared<Standardization>(
            Standardization{{m.data(), m.data() + inputs}, {d.data(), d.data() + inputs}}));
    });
}

}  // namespace

void register_network(py::module_& m) {
    using py::arg;
    py::class_<PyNetwork> network(m, "Network", collected,
                                  "A dense network over one flat parameter buffer and one flat gradient buffer.");
    network
        .def(py::init(&create), arg("widths"), arg("activations"), arg("bias"), arg("dropout"), py::kw_only(),
             arg("loss"), arg("loss_parameter") = 1.0, arg("l2") = 0.0, arg("dtype") = "float32", arg("seed") = 0,
             arg("scikit_learn") = false)
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
                    return static_cast<bool>(net.layers()[l].trainable);
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
            [](const PyNetwork& n, std::uint64_t seed) {
                n.visit([&](auto& net) {
                    const Busy busy = net.claim();
                    net.set_seed(seed);
                });
            })
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
        .def("predict_classes", &predict_classes, arg("X"));
    register_training(m, network);
}

}  // namespace fusednet
