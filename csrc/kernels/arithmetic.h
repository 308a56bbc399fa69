// What the operators of Vec<T> lack in arithmetic: fused multiply-add, quick division, square root, look-up.
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

// The smaller of a and b, and the larger; b where one is NaN. (With the operators GCC compares, then selects: two
// instructions.)
FUSEDNET_INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_min_ps((__m512)a, (__m512)b);
#else
    return a < b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_min_pd((__m512d)a, (__m512d)b);
#else
    return a < b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return a > b ? a : b;
#endif
}

FUSEDNET_INLINE Vec<double> larger(Vec<double> a, Vec<double> b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_max_pd((__m512d)a, (__m512d)b);
#else
    return a > b ? a : b;
#endif
}

#if FUSEDNET_VECTOR_BYTES == 64
// a / b in the lanes of the mask, within 1 ulp: for finite a and normal b; 0 · a in the others. A division of a whole
// register takes as long as a dozen multiply-adds. Quicker is an estimate of 14 bits, for float64 refined to 28, and
// what its quotient leaves of a.
FUSEDNET_INLINE Vec<float> divide_lanes(__mmask16 mask, Vec<float> a, Vec<float> b) {
    const __m512 inverse = _mm512_maskz_rcp14_ps(mask, (__m512)b), quotient = _mm512_mul_ps((__m512)a, inverse);
    const __m512 remainder = _mm512_maskz_fnmadd_ps(mask, (__m512)b, quotient, (__m512)a);
    return (Vec<float>)_mm512_fmadd_ps(remainder, inverse, quotient);
}

FUSEDNET_INLINE Vec<double> divide_lanes(__mmask8 mask, Vec<double> a, Vec<double> b) {
    const __m512d estimate = _mm512_maskz_rcp14_pd(mask, (__m512d)b);
    const __m512d error = _mm512_maskz_fnmadd_pd(mask, (__m512d)b, estimate, _mm512_set1_pd(1.0));
    const __m512d inverse = _mm512_fmadd_pd(error, estimate, estimate);
    const __m512d quotient = _mm512_mul_pd((__m512d)a, inverse);
    const __m512d remainder = _mm512_maskz_fnmadd_pd(mask, (__m512d)b, quotient, (__m512d)a);
    return (Vec<double>)_mm512_fmadd_pd(remainder, inverse, quotient);
}

FUSEDNET_INLINE __mmask16 finite_lanes(Vec<float> b) {
    return _mm512_cmp_ps_mask((__m512)b, _mm512_set1_ps(__builtin_inff()), _CMP_NEQ_UQ);
}

FUSEDNET_INLINE __mmask8 finite_lanes(Vec<double> b) {
    return _mm512_cmp_pd_mask((__m512d)b, _mm512_set1_pd(__builtin_inf()), _CMP_NEQ_UQ);
}
#endif

// a / b, within 1 ulp: for finite a and normal b.
template <class V>
FUSEDNET_INLINE V divide(V a, V b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return divide_lanes(static_cast<decltype(finite_lanes(b))>(-1), a, b);
#else
    return a / b;
#endif
}

// divide for b that may be infinite.
template <class V>
FUSEDNET_INLINE V divide_any(V a, V b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return divide_lanes(finite_lanes(b), a, b);
#else
    return a / b;
#endif
}

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

#if FUSEDNET_VECTOR_BYTES == 64
// table[index mod 32], lane by lane.
FUSEDNET_INLINE Vec<float> lookup(const float (&table)[32], Ints<float> index) {
    return (Vec<float>)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index, (__m512)load(table + 16));
}
#endif

}  // namespace fusednet::FUSEDNET_SET
