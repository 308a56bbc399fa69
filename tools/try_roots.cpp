// Tries the square root by multiply-adds of csrc/kernels/arithmetic.h: every mantissa of float32 with every estimate of
// its inverse within 1.5·2⁻¹². Prints those that some estimate makes wrong, and how near that one is. (Ten seconds.)
//
//     g++ -std=c++17 -O3 -ffp-contract=off -mavx2 -mfma -pthread -Icsrc tools/try_roots.cpp -o try_roots && ./try_roots
#define FUSEDNET_SET avx2
#define FUSEDNET_VECTOR_BYTES 32
#include <cmath>
#include <cstdio>
#include <thread>

#include "kernels/arithmetic.h"

using namespace fusednet::avx2;

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

static void try_mantissa(float v) {
    constexpr double allowed = 1.5 / 4096;
    const double inverse = 1 / std::sqrt(static_cast<double>(v));
    double nearest = allowed;
    Ints<float> estimate = broadcast_int<float>(bits_of(inverse * (1 - allowed)));
    for (std::int32_t lane = 0; lane < 8; ++lane) estimate[lane] += lane;
    for (const std::int32_t last = bits_of(inverse * (1 + allowed)); estimate[0] <= last; estimate += 8) {
        const Vec<float> root = refine_root(broadcast(v), (Vec<float>)estimate);
        const Ints<float> wrong = root != broadcast(std::sqrt(v));
        if (_mm256_movemask_ps((__m256)wrong) == 0) continue;
        for (int lane = 0; lane < 8; ++lane) {
            const double error = std::abs(static_cast<double>(number(estimate[lane])) / inverse - 1);
            if (wrong[lane] != 0 && error < nearest) nearest = error;
        }
    }
    if (nearest < allowed) std::printf("%a is wrong from an estimate within %.4f / 4096\n", v, nearest * 4096);
}

int main() {
    const std::int32_t one = bits_of(1), four = bits_of(4);
    const auto try_every = [=](std::int32_t first, std::int32_t step) {
        for (std::int32_t bits = first; bits < four; bits += step) try_mantissa(number(bits));
    };
    std::thread other(try_every, one, 2);
    try_every(one + 1, 2);
    other.join();
}
