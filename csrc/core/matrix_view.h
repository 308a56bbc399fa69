// Matrices that somebody else owns: the caller's arrays, of any real element type and any strides.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/kernel_table.h"

namespace fusednet {

constexpr bool is_floating(DType t) { return t == DType::float16 || t == DType::float32 || t == DType::float64; }

const char* dtype_name(DType);

// Columns are read as (x − mean)·inverse_deviation.
struct Standardization {
    std::vector<double> mean, inverse_deviation;
};

struct InputMatrix {
    const void* data = nullptr;
    DType dtype = DType::float32;
    std::size_t rows = 0, columns = 0;
    std::ptrdiff_t row_stride = 0, column_stride = 0;  // bytes
    const Standardization* standardization = nullptr;

    bool empty() const { return data == nullptr; }
};

// Inputs, targets and optional weights of one call, as wide as the network expects them.
struct Samples {
    InputMatrix x;
    InputMatrix y;        // (n, targets), or (n, 1) integers where `labels`
    InputMatrix weight;   // (n, 1), or empty
    bool labels = false;  // y holds class indices
    std::shared_ptr<const Standardization> standardization = nullptr;  // that x refers to
};

template <class T>
struct MatrixView {
    T* data;
    std::size_t rows, columns, ld;

    // So many of the rows, from `begin` on.
    MatrixView from(std::size_t begin, std::size_t count) const { return {data + begin * ld, count, columns, ld}; }
};

}  // namespace fusednet
