// Vectorised eˣ, eˣ − 1, log(1 + t), log x, tanh, sigmoid and the normal distribution function. NaN in gives NaN out:
// clamps return x where it is NaN. Coefficients: tools/fit_polynomials.py.
#pragma once

#include <limits>

#include "arithmetic.h"
#include "tanh_pieces.inl"

namespace fusednet::FUSEDNET_SET {

template <class T>
struct Constants;

template <>
struct Constants<float> {
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
    static constexpr float round_magic = 12582912.0f;  // 1.5 · 2²³: adding it rounds to an integer
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float exp_min = -150.0f, exp_max = 89.0f;  // beyond: 0, even 150 times as large, and infinity
    static constexpr float tanh_saturation = 10.0f, expm1_saturation = -40.0f;
    static constexpr float silu_min = -150.0f, normal_limit = 16.0f;
    static constexpr std::int32_t high_half = ~0xfff;  // keeps a mantissa whose square is exact
    static constexpr float exp_tail[] = {0.5f, 0.166665763f, 0.0416665524f, 0.00836323295f, 0.00139262504f};
    static constexpr float tanh_tail[] = {-0.333333313f, 0.133322388f, -0.0529946014f};
    static constexpr float log1p_tail[] = {0.666666389f, 0.400075614f, 0.282366186f, 0.268514991f};
    static constexpr float normal_center[] = {0.398942292f, -0.0664903f, 0.00997236092f, -0.00118131889f,
                                              0.000102970516f};
    static constexpr float tail_center = 2.5f;
    static constexpr float tail_slope[] = {-0.0106806802f,   -0.172494277f,   0.0970610827f,  -0.00493508717f,
                                           -0.0124654211f,   0.000368167792f, 0.00220125983f, 0.000332615135f,
                                           -0.000329955248f, -0.000129437147f};
};

template <>
struct Constants<double> {
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
    static constexpr double round_magic = 6755399441055744.0;  // 1.5 · 2⁵²
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double exp_min = -1000.0, exp_max = 710.0;
    static constexpr double tanh_saturation = 20.0, expm1_saturation = -40.0;
    static constexpr double silu_min = -1000.0, normal_limit = 40.0;
    static constexpr std::int64_t high_half = ~0x7ffffffLL;
    static constexpr double exp_tail[] = {0.50000000000000011,    0.16666666666666669,    0.041666666666623824,
                                          0.008333333333330039,   0.0013888888917367081,  0.00019841269863171557,
                                          2.4801521057868204e-05, 2.7557268276905696e-06, 2.7620201591031547e-07,
                                          2.5100472505694996e-08};
    static constexpr double tanh_tail[] = {-0.33333333333333282, 0.13333333333211611,    -0.053968253495869305,
                                           0.021869421428449724, -0.0088589192115242615, 0.0034636670195542472};
    static constexpr double log1p_tail[] = {
        0.66666666666666663, 0.40000000000014585, 0.28571428567108759, 0.22222222717427864,  0.18181789436132859,
        0.15385570064958623, 0.13314144209654935, 0.12001072809590713, 0.088007384861446741, 0.16164045611943531};
    static constexpr double normal_center[] = {0.39894228040143265,    -0.066490380066904192,   0.0099735570099765466,
                                               -0.0011873282143969831, 0.00011543467768540948,  -9.4446050579001989e-06,
                                               6.6581391595755933e-07, -4.0950399522417176e-08, 2.0057131453656121e-09};
    static constexpr double tail_center = 6.0;
    static constexpr double tail_slope[] = {
        -0.093089599457744115,   -0.076961125153797216,  0.15658397427866075,     -0.16533074783785773,
        0.13304771317325573,     -0.08786277904741896,   0.048329820611837111,    -0.021836092306386681,
        0.007716453417187537,    -0.0018451423757347399, 0.00010715333827804259,  0.00013182604145558412,
        -5.6237353933946736e-05, 3.5299865405766524e-06, 5.2974107100818729e-06,  -1.7277631226977936e-06,
        -2.7488811304791563e-07, 2.7028852905084482e-07, -3.3524733737154207e-09, -3.3106836725127523e-08,
        1.802769429542039e-09,   2.663659779361212e-09};
};

// c₀ + c₁·x + c₂·x² + …; a long one in two halves, of even and of odd powers, which do not wait for each other.
template <class T, size_t terms>
FUSEDNET_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[terms]) {
    const auto sum = [&c](Vec<T> power, size_t first, size_t step) {
        size_t i = first + (terms - 1 - first) / step * step;
        Vec<T> p = broadcast(c[i]);
        while (i > first) p = fma(p, power, broadcast(c[i -= step]));
        return p;
    };
    if constexpr (terms < 6) {
        return sum(x, 0, 1);
    } else {
        const Vec<T> square = x * x;
        return fma(sum(square, 1, 2), x, sum(square, 0, 2));
    }
}

template <class V, class T>
FUSEDNET_INLINE V clamp_below(V x, T low) {
    const V bound = broadcast<T, V>(low);
    if constexpr (sizeof(V) == sizeof(Vec<T>)) {
        return larger(bound, x);
    } else {
        return bound > x ? bound : x;
    }
}

template <class T>
FUSEDNET_INLINE Vec<T> clamp_above(Vec<T> x, T high) {
    return smaller(broadcast(high), x);
}

template <class T>
FUSEDNET_INLINE Ints<T> sign_bit() {
    return bits<T>(broadcast(T(-0.0)));
}

template <class T>
FUSEDNET_INLINE Vec<T> absolute(Vec<T> x) {
    return (Vec<T>)(bits<T>(x) & ~sign_bit<T>());
}

// The integer n nearest to x · factor, well below 2^mantissa_bits in size (of two as near, the even one, or where
// `biases` is odd the odd one).
template <class T>
struct Rounded {
    Vec<T> value;    // n
    Ints<T> biased;  // in the low bits n + biases · exponent_bias, added by rounding at no cost; above, round_magic's
};

template <int biases, class T>
FUSEDNET_INLINE Rounded<T> round_scaled(Vec<T> x, T factor) {
    using C = Constants<T>;
    const Vec<T> magic = broadcast(C::round_magic + T(biases * C::exponent_bias));
    const Vec<T> shifted = fma(x, broadcast(factor), magic);
    return {shifted - magic, bits<T>(shifted)};
}

// 2ⁿ for n in the range of normal numbers, given with the bias; the shift drops the bits above.
template <class T>
FUSEDNET_INLINE Vec<T> power_of_two(Ints<T> biased) {
    return (Vec<T>)(biased << Constants<T>::mantissa_bits);
}

constexpr double log2_e = 1.44269504088896340736, ln_2 = 0.69314718055994530942;

// x = n·ln 2 + r with |r| ≤ ln 2 / 2.
template <class T>
FUSEDNET_INLINE Vec<T> reduce(Vec<T> x, Vec<T> n) {
    using C = Constants<T>;
    return fma(n, broadcast(-C::ln2_low), fma(n, broadcast(-C::ln2_high), x));
}

// eʳ − 1 for |r| ≤ ln 2 / 2.
template <class T>
FUSEDNET_INLINE Vec<T> expm1_reduced(Vec<T> r) {
    return fma(r * r, polynomial(r, Constants<T>::exp_tail), r);
}

// e^x as the product of two numbers that are both normal, whatever x: a factor multiplied in between keeps its
// precision where e^x itself overflows or is subnormal.
template <class T>
struct Exponential {
    Vec<T> first, second;

    FUSEDNET_INLINE Vec<T> value() const { return first * second; }
};

// e^(x + low): `low` carries the rounding error of an x that had to be computed.
template <class T, class... Low>
FUSEDNET_INLINE Exponential<T> exponential(Vec<T> x, Low... low) {
    using C = Constants<T>;
    x = clamp_above(clamp_below(x, C::exp_min), C::exp_max);
    // With two biases and with one: their difference has one.
    const Rounded<T> n = round_scaled<2>(x, T(log2_e)), half = round_scaled<1>(n.value, T(0.5));
    const Vec<T> p = expm1_reduced<T>((reduce<T>(x, n.value) + ... + low)) + T(1);
    return {p * power_of_two<T>(half.biased), power_of_two<T>(n.biased - half.biased)};
}

template <class T>
FUSEDNET_INLINE Vec<T> exp(Vec<T> x) {
    return exponential<T>(x).value();
}

// eˣ − 1 for x in [−40, 40].
template <class T>
FUSEDNET_INLINE Vec<T> expm1_bounded(Vec<T> x) {
    const Rounded<T> n = round_scaled<1>(x, T(log2_e));
    const Vec<T> scale = power_of_two<T>(n.biased);
    return fma(expm1_reduced<T>(reduce<T>(x, n.value)), scale, scale - T(1));
}

// log((1 + s) / (1 − s)) = 2·atanh(s) for s in [−1/3, 1/3].
template <class T>
FUSEDNET_INLINE Vec<T> log_ratio(Vec<T> s) {
    const Vec<T> u = s * s;
    return fma(s * u, polynomial(u, Constants<T>::log1p_tail), s * T(2));
}

// log(1 + t) for t in [0, 1].
template <class T>
FUSEDNET_INLINE Vec<T> log1p_unit(Vec<T> t) {
    return log_ratio<T>(divide(t, t + T(2)));
}

// log x, by x = 2ⁿ·m with m in [√½, √2). That of the least normal number for what is below it.
template <class T>
FUSEDNET_INLINE Vec<T> natural_logarithm(Vec<T> x) {
    using C = Constants<T>;
    constexpr Int<T> one = Int<T>{1} << C::mantissa_bits;
    const Ints<T> least = bits<T>(broadcast(T(0.70710678118654752440)));
    const Ints<T> above = bits<T>(clamp_below(x, std::numeric_limits<T>::min())) - least;
    const auto bias = (Words<T>)broadcast_int<T>(C::exponent_bias * one);
    const Ints<T> biased = (Ints<T>)(((Words<T>)above + bias) >> C::mantissa_bits);  // without a sign to overflow into
    const Vec<T> m = (Vec<T>)((above & (one - 1)) + least), magic = broadcast(C::round_magic);
    const Vec<T> n = (Vec<T>)(biased + bits<T>(magic)) - (magic + T(C::exponent_bias));
    const Vec<T> fraction = log_ratio<T>(divide(m - T(1), m + T(1)));
    const Vec<T> log = fma(n, broadcast(C::ln2_high), fma(n, broadcast(C::ln2_low), fraction));
    const Vec<T> of_finite = x < T(0) ? broadcast(std::numeric_limits<T>::quiet_NaN()) : log;
    return x < std::numeric_limits<T>::infinity() ? of_finite : x;
}

// With |x| = n·ln 2 / 2 + r and q = tanh r, e^(2|x|) is 2ⁿ·(1 + q) / (1 − q), and tanh |x| = (2ⁿ − 1 + q·(2ⁿ + 1)) /
// (2ⁿ + 1 + q·(2ⁿ − 1)): no overflow, no cancellation near zero. What ln 2 loses by rounding n times is below an ulp
// where tanh is not yet 1. The chain of operations that wait for each other sets the time: hence the division itself.
template <class T>
FUSEDNET_INLINE Vec<T> tanh(Vec<T> x) {
#if FUSEDNET_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == sizeof(float)) return tanh_by_pieces(x);
#endif
    const Vec<T> size = clamp_above(absolute<T>(x), Constants<T>::tanh_saturation);
    const Rounded<T> n = round_scaled<1>(size, T(2 * log2_e));
    const Vec<T> power = power_of_two<T>(n.biased), below = power - T(1), above = power + T(1);
    const Vec<T> r = fma(n.value, broadcast(T(-0.5 * ln_2)), size), square = r * r;
    const Vec<T> q = fma(r * square, polynomial(square, Constants<T>::tanh_tail), r);
    const Vec<T> quotient = fma(q, above, below) / fma(q, below, above);
    return (Vec<T>)(bits<T>(quotient) | (bits<T>(x) & sign_bit<T>()));
}

// σ(x) = 1 / (1 + e^−x) as a product, and 1 − σ(x) without cancellation; from e^−|x| only: neither end overflows.
template <class T>
struct Logistic {
    Exponential<T> sigmoid;
    Vec<T> complement;
};

template <class T>
FUSEDNET_INLINE Logistic<T> logistic(Vec<T> x) {
    const Exponential<T> t = exponential<T>(-absolute<T>(x));
    const Vec<T> one = broadcast(T(1)), upper = divide(one, t.value() + one);  // at least a half
    const Exponential<T> sigmoid = {x < T(0) ? t.first * upper : upper, x < T(0) ? t.second : one};
    return {sigmoid, x < T(0) ? upper : t.value() * upper};
}

template <class T>
FUSEDNET_INLINE Vec<T> sigmoid(Vec<T> x) {
    return logistic<T>(x).sigmoid.value();
}

// The standard normal distribution: Φ(x) = first · second and its density. Φ(−y) = e^(−y²/2) · g(y) / (2 + 2y),
// where g = 1 + u·slope(u − 1) with u = 2y / (y + c) is near 1; near zero, 1/2 + x·h(x²) has the smaller rounding
// error.
template <class T>
struct Normal {
    Exponential<T> cumulative;
    Vec<T> density;
};

template <class T>
FUSEDNET_INLINE Normal<T> normal(Vec<T> x) {
    using C = Constants<T>;
    const Vec<T> y = clamp_above(absolute<T>(x), C::normal_limit);
    const Vec<T> high = (Vec<T>)(bits<T>(y) & C::high_half);  // high² is exact, low carries the rest of y²
    const Vec<T> low = (y - high) * (y + high);
    const Exponential<T> gauss = exponential<T>(high * high * T(-0.5), low * T(-0.5));
    const Vec<T> one = broadcast(T(1));
    const Vec<T> u = divide(y + y, y + C::tail_center), g = fma(u, polynomial(u - one, C::tail_slope), one);
    const Vec<T> tail = divide(gauss.first * g, y + y + T(2));
    const Vec<T> center = fma(x, polynomial<T>(x * x, C::normal_center), broadcast(T(0.5)));
    const Vec<T> first = x < T(0) ? tail : one - tail * gauss.second;
    const Exponential<T> cumulative = {y < T(0.75) ? center : first,
                                       ((x < T(0)) & (y >= T(0.75))) ? gauss.second : one};
    return {cumulative, gauss.value() * T(0.39894228040143267794)};
}

}  // namespace fusednet::FUSEDNET_SET
