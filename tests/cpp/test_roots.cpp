// The float32 root by multiply-adds of AVX2's Adam, with every estimate of its inverse within 1.5·2⁻¹²: what other
// processors may begin with. Tried are the mantissas whose root is so near to a tie that an error of 2⁻⁴⁰ could round
// it the wrong way; refine_root comes within 2⁻⁴⁶ before it rounds.
#define FUSEDNET_SET test
#define FUSEDNET_VECTOR_BYTES 32
#include <cmath>
#include <cstdio>

#include "kernels/arithmetic.h"

using namespace fusednet::test;

static float number(std::int32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static std::int32_t bits_of(double x) {
    const float rounded = static_cast<float>(x);
    std::int32_t bits;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

// Whether √v is that near to the middle between two numbers.
static bool is_hard(float v) {
    const double root = std::sqrt(static_cast<double>(v));
    const float nearest = std::sqrt(v);
    const double half = (std::nextafter(nearest, 4.0f) - nearest) / 2.0;  // from 1 to 2 all are as far apart
    return std::abs(std::abs(root - nearest) - half) < 0x1p-40;
}

static int count_wrong(float v) {
    constexpr double allowed = 1.5 / 4096;
    const double inverse = 1 / std::sqrt(static_cast<double>(v));
    Ints<float> estimate = broadcast_int<float>(bits_of(inverse * (1 - allowed)));
    for (std::int32_t lane = 0; lane < 8; ++lane) estimate[lane] += lane;
    int wrong = 0;
    for (const std::int32_t last = bits_of(inverse * (1 + allowed)); estimate[0] <= last; estimate += 8) {
        const Ints<float> different = refine_root(broadcast(v), (Vec<float>)estimate) != broadcast(std::sqrt(v));
        wrong += __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps((__m256)different)));
    }
    if (wrong > 0) std::printf("%a: wrong from %d estimates\n", static_cast<double>(v), wrong);
    return wrong;
}

int main() {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
    int hard = 0, wrong = 0;
    for (std::int32_t bits = bits_of(1), end = bits_of(4); bits < end; ++bits) {
        if (!is_hard(number(bits))) continue;
        ++hard;
        wrong += count_wrong(number(bits));
    }
    std::printf("%d mantissas, %d wrong roots\n", hard, wrong);
    return hard > 0 && wrong == 0 ? 0 : 1;
}
