#pragma once

#include <cstddef>

namespace machine {

struct Kernels {
    double (*multiply_add_float32)(long rounds);  // each returns how many operations it did
    double (*multiply_add_float64)(long rounds);
    double (*triad)(double* a, const double* b, const double* c, std::size_t n);  // a = b + factor · c; the bytes moved
};

}  // namespace machine
