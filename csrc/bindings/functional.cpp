#include "bindings/arrays.h"
#include "bindings/register.h"
#include "core/activation.h"
#include "core/loss.h"
#include "core/statistics.h"
#include "kernels/dispatch.h"

namespace fusednet {

namespace {

constexpr double cost = 20;  // of an element, in operations of the products

// Calls body(T{}): float32 arrays are computed as they are, everything else in float64.
template <class Body>
auto with_float_type(const py::array& a, Body body) {
    return a.dtype().kind() == 'f' && a.itemsize() == 4 ? body(float{}) : body(double{});
}

template <class T>
py::array like(const Contiguous<T>& a) {
    return py::array_t<T>(std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()));
}

py::array activation(const std::string& name, const py::array& z) {
    const Activation f = activation_from_name(name);
    return with_float_type(z, [&](auto tag) -> py::array {
        using T = decltype(tag);
        const Contiguous<T> in = contiguous<T>(z);
        py::array out = like<T>(in);
        const auto n = static_cast<std::size_t>(in.size());
        const T* from = in.data();
        auto* to = static_cast<T*>(out.mutable_data());
        if (n == 0) return out;
        check(f != Activation::softmax || in.ndim() > 0, "softmax: expected at least one dimension, received a scalar");
        const auto columns = static_cast<std::size_t>(in.ndim() > 0 ? in.shape(in.ndim() - 1) : 1);
        const ReleaseFor release(cost * static_cast<double>(n));
        if (f == Activation::softmax) {
            kernels<T>().softmax(from, columns, to, columns, n / columns, columns);
        } else {
            kernels<T>().activation(f, from, to, nullptr, n);
        }
        return out;
    });
}

py::array activation_gradient(const std::string& name, const py::array& z) {
    const Activation f = activation_from_name(name);
    check(f != Activation::softmax, "activation_gradient: expected an elementwise activation, received 'softmax'");
    return with_float_type(z, [&](auto tag) -> py::array {
        using T = decltype(tag);
        const Contiguous<T> in = contiguous<T>(z);
        py::array out = like<T>(in);
        const auto n = static_cast<std::size_t>(in.size());
        std::vector<T> value(n);
        const T* from = in.data();
        auto* to = static_cast<T*>(out.mutable_data());
        const ReleaseFor release(cost * static_cast<double>(n));
        kernels<T>().activation(f, from, value.data(), to, n);
        return out;
    });
}

py::tuple loss_value_and_gradient(const std::string& name, const py::array& prediction, const py::array& target,
                                  double parameter, const py::object& sample_weight) {
    const Loss which = loss_from_name(name);
    return with_float_type(prediction, [&](auto tag) -> py::tuple {
        using T = decltype(tag);
        const Contiguous<T> p = contiguous<T>(prediction);
        const InputMatrix shape = as_matrix(p, "prediction");
        const bool labels = which == Loss::cross_entropy && target.ndim() == 1;
        const InputMatrix y = as_matrix(target, "target");
        if (labels && is_floating(y.dtype)) {
            fail<TypeError>("target: expected integer class labels, received dtype ", dtype_name(y.dtype));
        }
        if (!(shape.rows > 0 && shape.columns > 0 && y.rows == shape.rows && (labels || y.columns == shape.columns))) {
            fail("target: expected shape ", shape_text(p), " as the prediction's, received ", shape_text(target));
        }
        const InputMatrix w = as_weights(sample_weight, shape.rows);
        py::array gradient = like<T>(p);
        const T* from = p.data();
        auto* to = static_cast<T*>(gradient.mutable_data());
        std::optional<ReleaseFor> release(cost * static_cast<double>(shape.rows * shape.columns));
        const RowSelection all{nullptr, 0, shape.rows};
        std::vector<T> targets(labels ? 0 : shape.rows * shape.columns), weight(w.empty() ? 0 : shape.rows);
        std::vector<std::int32_t> label(labels ? shape.rows : 0);
        if (labels) {
            gather_labels(y, all, label.data(), shape.columns);
        } else {
            gather_rows(y, all, targets.data(), shape.columns, "y", target_range(which));
        }
        auto total = static_cast<double>(shape.rows);
        if (!w.empty()) {
            std::vector<double> wide(shape.rows);
            total = gather_weights(w, all, weight.data(), wide.data()).sum;
            check(total > 0, "sample_weight: expected a positive sum, received ", total);
        }
        const double sum =
            kernels<T>().loss({which, parameter, from, shape.columns, labels ? nullptr : targets.data(), shape.columns,
                               labels ? label.data() : nullptr, w.empty() ? nullptr : weight.data(), to, shape.columns,
                               shape.rows, shape.columns, 1.0 / total});
        release.reset();
        return py::make_tuple(sum / total, gradient);
    });
}

double coefficient_of_determination(const py::array& prediction, const py::array& target,
                                    const py::object& sample_weight) {
    const InputMatrix p = as_matrix(prediction, "prediction"), y = as_matrix(target, "target");
    if (p.rows != y.rows || p.columns != y.columns) {
        fail("target: expected shape ", shape_text(prediction), " as the prediction's, received ", shape_text(target));
    }
    const InputMatrix w = as_weights(sample_weight, y.rows);
    const ReleaseFor release(cost * static_cast<double>(y.rows * y.columns));
    return r2(p, y, w);
}

using Doubles = py::array_t<double, py::array::c_style | aligned_array>;

void add_moments(Doubles count, Doubles mean, Doubles squares, const py::array& values, const py::object& rows) {
    const auto m = static_cast<std::size_t>(count.size()), size = static_cast<std::size_t>(mean.size());
    check(m > 0 && size % m == 0 && squares.size() == mean.size(), "expected as many means as squares for each count");
    const Moments moments{count.mutable_data(), mean.mutable_data(), squares.mutable_data(), m, size / m};
    RowOrder order;
    if (!rows.is_none()) {
        order = rows.cast<RowOrder>();
        check_order(order, m);
    }
    const std::size_t taken = rows.is_none() ? m : static_cast<std::size_t>(order.size());
    with_float_type(values, [&](auto tag) {
        using T = decltype(tag);
        const Contiguous<T> in = contiguous<T>(values);
        check(static_cast<std::size_t>(in.size()) == taken * moments.columns, "values: expected ", taken, " rows of ",
              moments.columns, ", received shape ", shape_text(values));
        const std::int64_t* const index = rows.is_none() ? nullptr : order.data();
        const ReleaseFor release(cost * static_cast<double>(in.size()));
        add_values(moments, in.data(), index, taken);
    });
}

}  // namespace

void register_functional(py::module_& m) {
    m.def("activation", &activation, py::arg("name"), py::arg("z"), "f(z), elementwise (softmax: over the last axis).");
    m.def("activation_gradient", &activation_gradient, py::arg("name"), py::arg("z"), "f'(z), elementwise.");
    m.def("loss", &loss_value_and_gradient, py::arg("name"), py::arg("prediction"), py::arg("target"),
          py::arg("parameter") = 1.0, py::arg("sample_weight") = py::none(),
          "Value and gradient of a loss; cross_entropy and binary_cross_entropy take logits.");
    m.def("r2", &coefficient_of_determination, py::arg("prediction"), py::arg("target"),
          py::arg("sample_weight") = py::none(), "The coefficient of determination, averaged over the columns.");
    m.def("add_moments", &add_moments, py::arg("count").noconvert(), py::arg("mean").noconvert(),
          py::arg("squares").noconvert(), py::arg("values"), py::arg("rows") = py::none(),
          "Take values into running means and sums of squared distances from them.");
}

}  // namespace fusednet
