// A Python callable f(y_pred, y_true) -> (value, gradient) as the core's custom loss. It gets copies: it may keep them.
#pragma once

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "core/loss.h"

namespace fusednet {

template <class T>
py::array_t<T> copy_of(const MatrixView<const T>& m) {
    py::array_t<T> a({m.rows, m.columns});
    for (std::size_t i = 0; i < m.rows; ++i) {
        std::copy_n(m.data + i * m.ld, m.columns, a.mutable_data() + i * m.columns);
    }
    return a;
}

inline double loss_value(const py::handle& value) {
    const double number = unless_finalizing([&] { return PyFloat_AsDouble(value.ptr()); });
    if (number != -1.0 || PyErr_Occurred() == nullptr) return number;
    py::error_already_set error;
    if (!error.matches(PyExc_TypeError)) throw error;
    fail<TypeError>("loss function: expected a number as value, received ", std::string(py::str(py::type::of(value))));
}

// Copies the gradient that the function gave, if it is wanted.
template <class T>
void take_gradient(const py::handle& given, const MatrixView<T>& gradient) {
    const auto object = py::reinterpret_borrow<py::object>(given);
    const py::array a = unless_finalizing([&] { return py::array(object); });
    const InputMatrix m = as_matrix(a, "loss function's gradient");
    if (a.ndim() != 2 || m.rows != gradient.rows || m.columns != gradient.columns) {
        fail("loss function: expected a gradient of shape (", gradient.rows, ", ", gradient.columns,
             ") as y_pred's, received ", shape_text(a));
    }
    if (gradient.data == nullptr) return;
    const Contiguous<T> values = contiguous<T>(a);
    T excess = 0;
    for (std::size_t i = 0; i < gradient.rows; ++i) {
        for (std::size_t j = 0; j < gradient.columns; ++j) {
            const T x = values.data()[i * gradient.columns + j];
            excess += x - x;
            gradient.data[i * gradient.ld + j] = x;
        }
    }
    check<DivergenceError>(excess == T(0), "the loss function's gradient is not finite");
}

// The function is shared with whoever shows it to Python's garbage collector, which may take it away.
template <class T>
CustomLoss<T> custom_loss(const std::shared_ptr<py::object>& function) {
    return [function](MatrixView<const T> prediction, MatrixView<const T> target, MatrixView<T> gradient) {
        const AcquireGil gil;
        check<std::runtime_error>(bool(*function), "this network has been taken apart by the garbage collector");
        const py::object result = call_python(*function, py::make_tuple(copy_of(prediction), copy_of(target)));
        if (!py::isinstance<py::tuple>(result) || py::len(result) != 2) {
            fail<TypeError>("loss function: expected a tuple (value, gradient), received ",
                            std::string(py::str(py::type::of(result))));
        }
        const auto parts = py::reinterpret_borrow<py::tuple>(result);
        take_gradient(parts[1], gradient);
        return loss_value(parts[0]);
    };
}

}  // namespace fusednet
