#include "bindings/arrays.h"

#include <optional>

namespace fusednet {

namespace {

std::optional<DType> supported_dtype(const py::dtype& dtype) {
    const char order = dtype.byteorder();
    const bool native = order == '=' || order == '|';
    if (!native) return std::nullopt;
    const auto size = dtype.itemsize();
    switch (dtype.kind()) {
        case 'b': return DType::boolean;
        case 'i': return size == 1 ? DType::int8 : size == 2 ? DType::int16 : size == 4 ? DType::int32 : DType::int64;
        case 'u':
            return size == 1 ? DType::uint8 : size == 2 ? DType::uint16 : size == 4 ? DType::uint32 : DType::uint64;
        case 'f':
            if (size == 2) return DType::float16;
            if (size == 4) return DType::float32;
            if (size == 8) return DType::float64;
            return std::nullopt;
        default: return std::nullopt;
    }
}

// The first byte of an array, and the one past its last.
std::pair<const char*, const char*> extent(const py::array& a) {
    const char *first = static_cast<const char*>(a.data()), *last = first;
    for (py::ssize_t i = 0; i < a.ndim(); ++i) {
        const py::ssize_t reach = (a.shape(i) - 1) * a.strides(i);
        (reach < 0 ? first : last) += reach;
    }
    return {first, last + a.itemsize()};
}

}  // namespace

bool may_overlap(const py::array& a, const py::array& b) {
    const auto [a_first, a_end] = extent(a);
    const auto [b_first, b_end] = extent(b);
    return a_first < b_end && b_first < a_end;
}

std::string shape_text(const py::array& a) { return py::str(a.attr("shape")); }

InputMatrix as_matrix(const py::array& a, const char* name) {
    const std::optional<DType> dtype = supported_dtype(a.dtype());
    if (!dtype) {
        fail<TypeError>(name,
                        ": expected a native boolean, integer or floating array of up to 64 bits, received dtype ",
                        std::string(py::str(a.dtype())));
    }
    const auto ndim = a.ndim();
    if (ndim != 1 && ndim != 2) {
        fail(name, ": expected an array of one or two dimensions, received shape ", shape_text(a));
    }
    InputMatrix m;
    m.data = a.data();
    m.dtype = *dtype;
    m.rows = static_cast<std::size_t>(a.shape(0));
    m.row_stride = a.strides(0);
    m.columns = ndim == 2 ? static_cast<std::size_t>(a.shape(1)) : 1;
    m.column_stride = ndim == 2 ? a.strides(1) : a.itemsize();
    return m;
}

InputMatrix as_rows(const py::array& a, std::size_t columns, bool allow_row, const char* name) {
    InputMatrix m = as_matrix(a, name);
    if (a.ndim() == 1 && allow_row) {
        std::swap(m.rows, m.columns);
        m.column_stride = m.row_stride;
        m.row_stride *= static_cast<py::ssize_t>(m.columns);  // of a row that is in one piece
    }
    if (m.columns != columns || m.rows == 0 || (a.ndim() == 1 && !allow_row)) {
        fail(name, ": expected shape (n, ", columns, ")", allow_row ? text(" or (", columns, ",)") : "",
             " with n at least 1, received ", shape_text(a));
    }
    return m;
}

InputMatrix as_weights(const py::object& weights, std::size_t rows) {
    if (weights.is_none()) return {};
    if (!py::isinstance<py::array>(weights)) {
        fail<TypeError>("sample_weight: expected an array or None, received ",
                        std::string(py::str(py::type::of(weights))));
    }
    const auto a = py::reinterpret_borrow<py::array>(weights);
    InputMatrix m = as_matrix(a, "sample_weight");
    if (a.ndim() != 1 || m.rows != rows) {
        fail("sample_weight: expected shape (", rows, ",) as X has ", rows, " rows, received ", shape_text(a));
    }
    return m;
}

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

}  // namespace fusednet
