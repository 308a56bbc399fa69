// NumPy arrays to and from the core's views.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/gil.h"
#include "core/buffer.h"
#include "core/check.h"
#include "core/matrix_view.h"

namespace fusednet {

namespace py = pybind11;

constexpr int aligned_array = py::detail::npy_api::NPY_ARRAY_ALIGNED_;

// What an argument is converted to where that is needed.
template <class T>
using Contiguous = py::array_t<T, py::array::c_style | py::array::forcecast | aligned_array>;

// For a copy of more than a few hundred elements NumPy gives the GIL up.
template <class T>
Contiguous<T> contiguous(const py::object& a) {
    return unless_finalizing([&] { return Contiguous<T>(a); });
}

inline bool is_aligned(const py::array& a) { return (a.flags() & aligned_array) != 0; }

// Whether the bytes between the first and the last element of each have any in common.
bool may_overlap(const py::array&, const py::array&);

// "(3, 4)": a shape as NumPy prints it.
std::string shape_text(const py::array&);

// A real, native-endian array of one or two dimensions as a matrix: (n,) becomes (n, 1). Throws TypeError or
// ValueError naming what came.
InputMatrix as_matrix(const py::array&, const char* name);

// An array as (n, columns), n ≥ 1. A 1-D array of `columns` elements is one row where `allow_row`.
InputMatrix as_rows(const py::array&, std::size_t columns, bool allow_row, const char* name);

// Weights of shape (n,).
InputMatrix as_weights(const py::object&, std::size_t rows);

// Row indices, int64.
using RowOrder = py::array_t<std::int64_t, py::array::c_style | aligned_array>;

// Throws where there are none, or one is not below `rows`.
void check_order(const RowOrder&, std::size_t rows);

// A writable view that keeps the buffer alive.
template <class T>
py::array view(const Buffer<T>& buffer, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<std::shared_ptr<T>>(buffer.owner());
    const py::capsule base(owner.get(), [](void* p) { delete static_cast<std::shared_ptr<T>*>(p); });
    owner.release();
    return py::array(py::dtype::of<T>(), std::move(shape), buffer.data(), base);
}

}  // namespace fusednet
