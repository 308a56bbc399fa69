// What the operators of Vec<T> lack in arithmetic: fused multiply-add, conversion, minimum and maximum, quick division,
// square root, look-up. Coefficients of float64's root: tools/fit_polynomials.py.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

// a·b + c, rounded once where the set has the instruction. Kernels are compiled without contraction of a·b + c by the
// compiler: which sums it fuses differs from one instance of a template to another, and the bits with it.
FUSEDNET_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

FUSEDNET_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

#if FUSEDNET_VECTOR_BYTES == 64
FUSEDNET_INLINE Half<float> fma(Half<float> a, Half<float> b, Half<float> c) {
    return (Half<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

FUSEDNET_INLINE Half<double> fma(Half<double> a, Half<double> b, Half<double> c) {
    return (Half<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#endif

// Two vectors of float64 as one of float32.
FUSEDNET_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
#if FUSEDNET_VECTOR_BYTES == 64
    const __m512 first = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)low));
    return (Vec<float>)_mm512_insertf32x8(first, _mm512_cvtpd_ps((__m512d)high), 1);
#elif FUSEDNET_VECTOR_BYTES == 32
    const __m256 first = _mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)low));
    return (Vec<float>)_mm256_insertf128_ps(first, _mm256_cvtpd_ps((__m256d)high), 1);
#elif defined(__SSE2__)
    return (Vec<float>)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)low), _mm_cvtpd_ps((__m128d)high));
#else
    return Vec<float>{static_cast<float>(low[0]), static_cast<float>(low[1]), static_cast<float>(high[0]),
                      static_cast<float>(high[1])};
#endif
}

// As many of float32 as one of float64 holds.
FUSEDNET_INLINE Vec<double> widen(Half<float> v) { return __builtin_convertvector(v, Vec<double>); }

// The smaller of a and b, and the larger; b where one is NaN. (With the operators GCC compares, then selects: two
// instructions.)
FUSEDNET_INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_min_ps((__m512)a, (__m512)b);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Vec<float>)_mm_min_ps((__m128)a, (__m128)b);
#else
    return a < b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(__SSE2__)
    return (Vec<double>)_mm_min_pd((__m128d)a, (__m128d)b);
#else
    return a < b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Vec<float>)_mm_max_ps((__m128)a, (__m128)b);
#else
    return a > b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<double> larger(Vec<double> a, Vec<double> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__SSE2__)
    return (Vec<double>)_mm_max_pd((__m128d)a, (__m128d)b);
#else
    return a > b ? a : b;
#endif
}

// a / b, within 1 ulp: for finite a and normal b. A division of a whole register of AVX-512 takes as long as a dozen
// multiply-adds. Quicker is an estimate of 14 bits, for float64 refined to 28, and what its quotient leaves of a.
#if FUSEDNET_VECTOR_BYTES == 64
// In the lanes of the mask; 0 · a in the others.
FUSEDNET_INLINE Vec<float> divide_lanes(__mmask16 mask, Vec<float> a, Vec<float> b) {
    const __m512 inverse = _mm512_maskz_rcp14_ps(mask, (__m512)b), quotient = _mm512_mul_ps((__m512)a, inverse);
    const __m512 remainder = _mm512_maskz_fnmadd_ps(mask, (__m512)b, quotient, (__m512)a);
    return (Vec<float>)_mm512_fmadd_ps(remainder, inverse, quotient);
}

FUSEDNET_INLINE Vec<float> divide(Vec<float> a, Vec<float> b) { return divide_lanes(0xffff, a, b); }

FUSEDNET_INLINE Vec<double> divide(Vec<double> a, Vec<double> b) {
    const Vec<double> estimate = (Vec<double>)_mm512_rcp14_pd((__m512d)b);
    const Vec<double> inverse = fma(fma(-b, estimate, broadcast(1.0)), estimate, estimate), quotient = a * inverse;
    return fma(fma(-b, quotient, a), inverse, quotient);
}
#else
template <class V>
FUSEDNET_INLINE V divide(V a, V b) {
    return a / b;
}
#endif

FUSEDNET_INLINE Vec<float> square_root(Vec<float> v) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_sqrt_ps((__m512)v);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
    return (Vec<float>)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (Vec<float>)vsqrtq_f32((float32x4_t)v);
#else
    for (size_t i = 0; i < lanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
    return v;
#endif
}

FUSEDNET_INLINE Vec<double> square_root(Vec<double> v) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_sqrt_pd((__m512d)v);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
    return (Vec<double>)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
    return (Vec<double>)vsqrtq_f64((float64x2_t)v);
#else
    for (size_t i = 0; i < lanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
#endif
}

#if FUSEDNET_VECTOR_BYTES == 32
// √v from an estimate y of 1/√v within 1.5·2⁻¹², as manuals promise it, rounded as IEEE 754 wants it: for every
// mantissa with every such y, see test_roots.cpp. The constant just below ½ is for 4 − 2⁻²², whose root, 2 − 2⁻²³, is
// barely below a tie.
FUSEDNET_INLINE Vec<float> refine_root(Vec<float> v, Vec<float> y) {
    const Vec<float> g = v * y, h = (Vec<float>)(bits<float>(y) - broadcast_int<float>(1 << 23));  // h = y/2
    const Vec<float> e = fma(-g, h, broadcast(0x1.fffffep-2f)), slope = fma(e, broadcast(1.5f), broadcast(1.0f));
    const Vec<float> root = fma(g, e * slope, g);
    return fma(fma(-root, root, v), fma(h, e * slope, h), root);
}

FUSEDNET_INLINE Vec<float> estimate_inverse_root(Vec<float> v) { return (Vec<float>)_mm256_rsqrt_ps((__m256)v); }
FUSEDNET_INLINE Vec<double> estimate_inverse_root(Vec<double> v) {
    return (Vec<double>)_mm256_cvtps_pd(_mm_rsqrt_ps(_mm256_cvtpd_ps((__m256d)v)));
}
FUSEDNET_INLINE bool is_any_above(Words<float> v, Words<float> most) {
    return _mm256_movemask_ps((__m256)(v > most)) != 0;
}
FUSEDNET_INLINE bool is_any_above(Words<double> v, Words<double> most) {
    return _mm256_movemask_pd((__m256d)(v > most)) != 0;
}
#elif FUSEDNET_VECTOR_BYTES == 64
FUSEDNET_INLINE Vec<double> estimate_inverse_root(Vec<double> v) {
    return (Vec<double>)((Ints<double>)_mm512_rsqrt14_pd((__m512d)v) & ~((Int<double>{1} << 29) - 1));
}
FUSEDNET_INLINE bool is_any_above(Words<double> v, Words<double> most) {
    return _mm512_cmpgt_epu64_mask((__m512i)v, (__m512i)most) != 0;
}
#endif

#if FUSEDNET_VECTOR_BYTES >= 32
// The same of float64, from an estimate within 1.5·2⁻¹² (`coarse`) or 2⁻¹⁴ that is a float32: (1 − e)^−½ as 1 + rest,
// by tools/fit_polynomials.py. The root is within 2⁻⁵¹ before the last line, and so is h of 1/(2√v): that line comes
// within 2⁻¹⁰⁰ before it rounds. For the few mantissas that this is too coarse for, test_roots.cpp tries every
// estimate; with the constant just below 1, none is wrong.
template <bool coarse>
FUSEDNET_INLINE Vec<double> refine_root(Vec<double> v, Vec<double> y) {
    const Vec<double> g = v * y, e = fma(-g, y, broadcast(0x1.fffffffffffffp-1));
    Vec<double> rest = broadcast(coarse ? 0.31250013201502769 : 0.31250000275031198);
    if (coarse) rest = fma(e, broadcast(0.2734376210137765), rest);
    rest = fma(rest, e, broadcast(coarse ? 0.3749999999999919 : 0.37500000305590225));
    rest = e * fma(rest, e, broadcast(coarse ? 0.49999999999999117 : 0.5));
    const Vec<double> root = fma(g, rest, g);
    const Vec<double> h = (Vec<double>)(bits<double>(y) - broadcast_int<double>(Int<double>{1} << 52));  // y/2
    return fma(fma(-root, root, v), fma(h, rest, h), root);
}

FUSEDNET_INLINE Vec<double> refine_root(Vec<double> v, Vec<double> y) {
    return refine_root<FUSEDNET_VECTOR_BYTES == 32>(v, y);
}

// √v to the same bits as square_root, by multiply-adds unless a lane is no number from 2⁻¹⁰⁰ to 2¹⁰⁰. (In float32 v −
// root² would not be exact from about 2⁻¹⁰⁵ down, and the estimate of float64 may be that of a float32.)
template <class T>
FUSEDNET_INLINE Vec<T> square_root_without_divider(Vec<T> v) {
    constexpr int mantissa_bits = sizeof(T) == sizeof(float) ? 23 : 52, bias = sizeof(T) == sizeof(float) ? 127 : 1023;
    constexpr Int<T> least = Int<T>{bias - 100} << mantissa_bits, most = Int<T>{bias + 100} << mantissa_bits;
    const auto above = (Words<T>)(bits<T>(v) - broadcast_int<T>(least));  // of smaller ones far above: they wrap around
    if (__builtin_expect(is_any_above(above, (Words<T>)broadcast_int<T>(most - least)), 0)) return square_root(v);
    return refine_root(v, estimate_inverse_root(v));
}
#endif

// a / b for b that may be infinite. In float64 by the divider.
FUSEDNET_INLINE Vec<float> divide_any(Vec<float> a, Vec<float> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    const __m512 infinite = _mm512_set1_ps(__builtin_inff());
    return divide_lanes(_mm512_cmp_ps_mask((__m512)b, infinite, _CMP_NEQ_UQ), a, b);
#else
    return a / b;
#endif
}

FUSEDNET_INLINE Vec<double> divide_any(Vec<double> a, Vec<double> b) { return a / b; }

#if FUSEDNET_VECTOR_BYTES == 64
// table[index mod 16], lane by lane.
FUSEDNET_INLINE Vec<float> lookup(const float (&table)[16], Ints<float> index) {
    return (Vec<float>)_mm512_permutexvar_ps((__m512i)index, (__m512)load(table));
}
#endif

}  // namespace fusednet::FUSEDNET_SET
