// The roots by multiply-adds of Adam's update, with every estimate of their inverse that is as far off as manuals
// allow: what other processors may begin with. Tried are the mantissas whose root is so near to a tie that an error
// could round it the wrong way: of float32 one of 2⁻⁴⁰, where refine_root comes within 2⁻⁴⁶ before it rounds; of
// float64, whose estimates are float32, too, one of 2⁻¹⁰⁰.
#define FUSEDNET_SET test
#define FUSEDNET_VECTOR_BYTES 32
#include <cmath>
#include <cstdio>
#include <vector>

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
    return wrong;
}

// Those v from 1 to 4 whose root is that near to a tie, M·2⁻⁵³ with an odd M: M² − c is a multiple of 2⁵⁴ for a small
// c. A root of c modulo 2⁵⁴ is found bit by bit; there are four.
static std::vector<double> hard_doubles() {
    std::vector<double> found;
    constexpr std::int64_t most = 256, modulus = std::int64_t{1} << 54;
    for (std::int64_t c = 1 - most; c < most; c += 8) {  // odd squares are 1 modulo 8
        std::uint64_t root = 1;
        for (int bit = 3; bit < 54; ++bit) {
            if ((root * root - static_cast<std::uint64_t>(c)) >> bit & 1) root += std::uint64_t{1} << (bit - 1);
        }
        const std::int64_t x = static_cast<std::int64_t>(root) % modulus;
        for (const std::int64_t m :
             {x, modulus - x, (x + modulus / 2) % modulus, (modulus / 2 - x + modulus) % modulus}) {
            const long double tie = static_cast<long double>(m) * 0x1p-53L, square = tie * tie;
            const auto v = static_cast<double>(square);
            if (m >= modulus / 2 && std::abs(v - square) < 0x1p-60L) found.push_back(v);
        }
    }
    return found;
}

template <bool coarse>
static int count_wrong(double v) {
    constexpr double allowed = (coarse ? 1.5 / 4096 : 1.0 / 16384) + 0x1p-23;  // and what makes it a float32
    const double inverse = 1 / std::sqrt(v);
    int wrong = 0;
    const std::int32_t last = bits_of(inverse * (1 + allowed));
    for (std::int32_t bits = bits_of(inverse * (1 - allowed)); bits <= last; bits += 4) {
        Vec<double> y;
        for (int lane = 0; lane < 4; ++lane) y[lane] = static_cast<double>(number(bits + lane));
        const Ints<double> different = refine_root<coarse>(broadcast(v), y) != broadcast(std::sqrt(v));
        wrong += __builtin_popcount(static_cast<unsigned>(_mm256_movemask_pd((__m256d)different)));
    }
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
    std::printf("float32: %d mantissas, %d wrong roots\n", hard, wrong);
    const std::vector<double> doubles = hard_doubles();
    int wrong_doubles = 0;
    for (const double v : doubles) {
        const int of_this = count_wrong<true>(v) + count_wrong<false>(v);
        if (of_this > 0) std::printf("%a: wrong from %d estimates\n", v, of_this);
        wrong_doubles += of_this;
    }
    std::printf("float64: %zu mantissas, %d wrong roots\n", doubles.size(), wrong_doubles);
    return hard == 260 && doubles.size() == 90 && wrong + wrong_doubles == 0 ? 0 : 1;
}
