// Elements of vectors in another order: halves, 16-byte pieces and pairs, from memory or from two registers. Which of
// them there are depends on the register's size.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

#if FUSEDNET_VECTOR_BYTES == 64
// The lower halves of a and b, or their upper ones.
FUSEDNET_INLINE Vec<double> lower_halves(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_shuffle_f64x2((__m512d)a, (__m512d)b, 0x44);
}
FUSEDNET_INLINE Vec<double> upper_halves(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_shuffle_f64x2((__m512d)a, (__m512d)b, 0xEE);
}
#elif FUSEDNET_VECTOR_BYTES == 32
FUSEDNET_INLINE Vec<double> lower_halves(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm256_permute2f128_pd((__m256d)a, (__m256d)b, 0x20);
}
FUSEDNET_INLINE Vec<double> upper_halves(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm256_permute2f128_pd((__m256d)a, (__m256d)b, 0x31);
}
#endif

#if FUSEDNET_VECTOR_BYTES == 64
// Half a vector of memory, and another `stride` elements on.
FUSEDNET_INLINE Vec<float> load_halves(const float* p, size_t stride) {
    const __m512 first = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return (Vec<float>)_mm512_insertf32x8(first, _mm256_loadu_ps(p + stride), 1);
}
FUSEDNET_INLINE Vec<double> load_halves(const double* p, size_t stride) {
    const __m512d first = _mm512_castpd256_pd512(_mm256_loadu_pd(p));
    return (Vec<double>)_mm512_insertf64x4(first, _mm256_loadu_pd(p + stride), 1);
}

FUSEDNET_INLINE void store_halves(float* p, size_t stride, Vec<float> v) {
    _mm256_storeu_ps(p, _mm512_castps512_ps256((__m512)v));
    _mm256_storeu_ps(p + stride, _mm512_extractf32x8_ps((__m512)v, 1));
}
FUSEDNET_INLINE void store_halves(double* p, size_t stride, Vec<double> v) {
    _mm256_storeu_pd(p, _mm512_castpd512_pd256((__m512d)v));
    _mm256_storeu_pd(p + stride, _mm512_extractf64x4_pd((__m512d)v, 1));
}

// Of the four pieces of 16 bytes in a and in b: the first of both, then the third; or the second, then the fourth.
FUSEDNET_INLINE Vec<double> even_pieces(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_permutex2var_pd((__m512d)a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), (__m512d)b);
}
FUSEDNET_INLINE Vec<double> odd_pieces(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_permutex2var_pd((__m512d)a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), (__m512d)b);
}
#else
// 16-byte pieces of memory, `stride` elements apart, side by side in one vector.
FUSEDNET_INLINE Vec<float> load_pieces(const float* p, [[maybe_unused]] size_t stride) {
#if FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
#else
    return load(p);
#endif
}
FUSEDNET_INLINE Vec<double> load_pieces(const double* p, [[maybe_unused]] size_t stride) {
#if FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + stride), 1);
#else
    return load(p);
#endif
}
#endif

#if FUSEDNET_VECTOR_BYTES == 64
// Two elements of memory in turn: p₀ p₁ p₀ p₁ …
FUSEDNET_INLINE Half<float> broadcast_pair(const float* p) {
    double pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return (Half<float>)_mm256_set1_pd(pair);
}
FUSEDNET_INLINE Half<double> broadcast_pair(const double* p) {
    return (Half<double>)_mm256_broadcast_f64x2(_mm_loadu_pd(p));
}

// The sums of neighbours, v₀ + v₁, v₂ + v₃, …, and zeros.
FUSEDNET_INLINE Half<float> sum_pairs(Half<float> v) {
    const __m256 sorted = _mm256_permutevar8x32_ps((__m256)v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    return (Half<float>)_mm256_zextps128_ps256(
        _mm_add_ps(_mm256_castps256_ps128(sorted), _mm256_extractf128_ps(sorted, 1)));
}
FUSEDNET_INLINE Half<double> sum_pairs(Half<double> v) { return Half<double>{v[0] + v[1], v[2] + v[3], 0, 0}; }
#endif

// Of each 16-byte piece of a and b: their lower halves' elements in turn, a₀ b₀ a₁ b₁, or their upper halves'.
#if FUSEDNET_VECTOR_BYTES == 64
FUSEDNET_INLINE Vec<float> interleave_low(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm512_unpacklo_ps((__m512)a, (__m512)b);
}
FUSEDNET_INLINE Vec<float> interleave_high(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm512_unpackhi_ps((__m512)a, (__m512)b);
}
FUSEDNET_INLINE Vec<double> interleave_low(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_unpacklo_pd((__m512d)a, (__m512d)b);
}
FUSEDNET_INLINE Vec<double> interleave_high(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_unpackhi_pd((__m512d)a, (__m512d)b);
}
#elif FUSEDNET_VECTOR_BYTES == 32
FUSEDNET_INLINE Vec<float> interleave_low(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm256_unpacklo_ps((__m256)a, (__m256)b);
}
FUSEDNET_INLINE Vec<float> interleave_high(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm256_unpackhi_ps((__m256)a, (__m256)b);
}
FUSEDNET_INLINE Vec<double> interleave_low(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm256_unpacklo_pd((__m256d)a, (__m256d)b);
}
FUSEDNET_INLINE Vec<double> interleave_high(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm256_unpackhi_pd((__m256d)a, (__m256d)b);
}
#else
FUSEDNET_INLINE Vec<float> interleave_low(Vec<float> a, Vec<float> b) { return Vec<float>{a[0], b[0], a[1], b[1]}; }
FUSEDNET_INLINE Vec<float> interleave_high(Vec<float> a, Vec<float> b) { return Vec<float>{a[2], b[2], a[3], b[3]}; }
FUSEDNET_INLINE Vec<double> interleave_low(Vec<double> a, Vec<double> b) { return Vec<double>{a[0], b[0]}; }
FUSEDNET_INLINE Vec<double> interleave_high(Vec<double> a, Vec<double> b) { return Vec<double>{a[1], b[1]}; }
#endif

}  // namespace fusednet::FUSEDNET_SET
