// What one core can do with one instruction set: multiply-adds on registers, and a triad through memory. Compiled once
// for each set, with its flags and KERNEL_SET as the name of its namespace; nothing but `kernels` leaves this file.
#include "machine_kernels.h"

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, registers = 32;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, registers = 16;
#elif defined(__aarch64__)
constexpr int vector_bytes = 16, registers = 32;
#else
constexpr int vector_bytes = 16, registers = 16;
#endif

// Enough independent chains to hide the latency of a multiplication and an addition, with two registers left for
// constants.
constexpr int chains = registers - 2 < 24 ? registers - 2 : 24;

template <class T>
double multiply_add(long rounds) {
    typedef T Vector __attribute__((vector_size(vector_bytes)));
    volatile T shrink = T(0.999), grow = T(0.001);  // each chain tends to 1, far from subnormal numbers and infinity
    const Vector a = Vector{} + shrink, b = Vector{} + grow;
    Vector x[chains];
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) x[c] = b * T(c);
    for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
        for (int c = 0; c < chains; ++c) x[c] = x[c] * a + b;
    }
    Vector sum{};
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) sum += x[c];
    volatile T sink = sum[0];
    (void)sink;
    return 2.0 * chains * (vector_bytes / static_cast<double>(sizeof(T))) * static_cast<double>(rounds);
}

double triad(double* __restrict a, const double* __restrict b, const double* __restrict c, std::size_t n) {
    const double factor = 0.5;
    for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + factor * c[i];
    return 3.0 * sizeof(double) * static_cast<double>(n);
}

}  // namespace

namespace machine::KERNEL_SET {
extern const Kernels kernels;
const Kernels kernels{multiply_add<float>, multiply_add<double>, triad};
}  // namespace machine::KERNEL_SET
