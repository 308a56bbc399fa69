// The methods of a network that train it, and the optimizers' states.
#include "bindings/py_network.h"
#include "bindings/register.h"
#include "core/shuffle.h"

namespace fusednet {

namespace {

template <class T>
Samples samples_for(const Network<T>& net, const py::array& X, const py::array& y, const py::object& weight) {
    Samples s;
    s.x = as_rows(X, net.inputs(), false, "X");
    s.standardization = net.standardization();
    s.x.standardization = s.standardization.get();
    s.y = as_matrix(y, "y");
    if (s.y.rows != s.x.rows) {
        fail("y: expected ", s.x.rows, " rows as X has, received shape ", shape_text(y));
    }
    const bool flat = y.ndim() == 1;
    if (net.config().loss == Loss::cross_entropy && flat) {
        if (is_floating(s.y.dtype)) {
            const bool missing = py::module_::import("numpy").attr("isnan")(y).attr("any")().template cast<bool>();
            throw TypeError(text("y: expected integer class labels of shape (n,), or probabilities of shape (n, ",
                                 net.outputs(), "); received dtype ", dtype_name(s.y.dtype), " of shape ",
                                 shape_text(y), missing ? ", with NaN, as labels with missing values are read" : ""));
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
            const bool labels = net.config().loss == Loss::cross_entropy;
            fail("y: expected shape (n, ", net.outputs(), ")", net.outputs() == 1 ? " or (n,)" : "",
                 labels ? ", or integer class labels of shape (n,)" : "", ", received ", shape_text(y));
        }
    }
    s.weight = as_weights(weight, s.x.rows);
    return s;
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

std::pair<double, py::array> loss_and_prediction(const PyNetwork& self, const py::array& X, const py::array& y,
                                                 const py::object& weight) {
    return self.visit([&](auto& net) {
        using T = ElementOf<decltype(net)>;
        const Samples s = samples_for(net, X, y, weight);
        std::pair<double, py::array> result(0, new_matrix<T>(s.x.rows, net.outputs(), false));
        auto* prediction = static_cast<T*>(result.second.mutable_data());
        const ReleaseFor release(flops(net, s.x.rows));
        result.first = net.loss(s, prediction);
        return result;
    });
}

std::pair<double, py::array> loss_and_classes(const PyNetwork& self, const py::array& X, const py::array& y,
                                              const py::object& weight) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        const Loss loss = net.config().loss;
        check(loss == Loss::cross_entropy || loss == Loss::binary_cross_entropy,
              "loss_and_classes: expected one of the cross-entropies as the network's loss");
        std::pair<double, py::array> result(0, new_classes(net, s.x.rows, false));
        auto* classes = static_cast<std::int64_t*>(result.second.mutable_data());
        const ReleaseFor release(flops(net, s.x.rows));
        result.first = net.loss(s, nullptr, classes);
        return result;
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

double part_gradient(const PyNetwork& self, const py::array& X, const py::array& y, const RowOrder& order,
                     const py::object& weight, double share, std::size_t first_row, const py::object& after_layer) {
    return self.visit([&](auto& net) {
        const Samples s = samples_for(net, X, y, weight);
        check_order(order, s.x.rows);
        const RowSelection rows{order.data(), 0, static_cast<std::size_t>(order.size())};
        const std::function<void(std::size_t)> tell = [&](std::size_t layer) {
            const AcquireGil gil;
            call_python(after_layer, py::make_tuple(layer));
        };
        const ReleaseFor release(3 * flops(net, rows.count));
        return net.part_gradient(s, rows, {share, first_row, after_layer.is_none() ? nullptr : &tell});
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
        const ReleaseGil release;
        return net.train_epoch(s, optimizer, batch_size, index, count, [&](std::size_t rows_done) {
            const AcquireGil gil;
            if (unless_finalizing(PyErr_CheckSignals) != 0) throw py::error_already_set();
            if (!progress.is_none()) call_python(progress, py::make_tuple(rows_done));
        });
    });
}

py::object get_optimizer_state(const PyNetwork& self, const Optimizer& optimizer) {
    return self.visit([&](auto& net) -> py::object {
        const Busy busy = net.claim();
        const auto* state = net.find_state(optimizer);
        if (state == nullptr) return py::none();
        const auto copy = [](const auto& buffer) {
            py::array_t<ElementOf<decltype(net)>> values(static_cast<py::ssize_t>(buffer.size()));
            std::copy_n(buffer.data(), buffer.size(), values.mutable_data());
            return values;
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
        const Contiguous<T> first = contiguous<T>(values["first"]), second = contiguous<T>(values["second"]);
        const auto step = values["step"].template cast<std::uint64_t>();
        const std::size_t size = net.parameters().size();
        const std::size_t firsts = keeps_first(optimizer.rule) ? size : 0;
        const std::size_t seconds = keeps_second(optimizer.rule) ? size : 0;
        check(static_cast<std::size_t>(first.size()) == firsts && static_cast<std::size_t>(second.size()) == seconds,
              "optimizer state: expected ", firsts, " and ", seconds,
              " elements for this optimizer and network, received ", first.size(), " and ", second.size());
        for (std::size_t i = 0; i < seconds; ++i) {
            check(!(second.data()[i] < T(0)), "optimizer state: expected second moments of at least 0, received ",
                  second.data()[i]);
        }
        const Busy busy = net.claim();
        auto& state = net.state(optimizer);
        std::copy_n(first.data(), firsts, state.first.data());
        std::copy_n(second.data(), seconds, state.second.data());
        state.step = step;
    });
}

}  // namespace

void register_training(py::module_& m, py::class_<PyNetwork>& network) {
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
    py::class_<Training>(m, "Training", "The claim of a thread that trains a network from `begin` to `end`.")
        .def(py::init([](const PyNetwork& n) {
                 return n.visit([](auto& net) { return std::make_unique<Training>(net.occupancy()); });
             }),
             arg("network"))
        .def("begin", &Training::begin)
        .def("end", &Training::end);
    network.def("check_samples", &check_samples, arg("X"), arg("y"))
        .def("loss", &loss, arg("X"), arg("y"), arg("sample_weight") = py::none())
        .def("loss_and_prediction", &loss_and_prediction, arg("X"), arg("y"), arg("sample_weight") = py::none())
        .def("loss_and_classes", &loss_and_classes, arg("X"), arg("y"), arg("sample_weight") = py::none())
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
