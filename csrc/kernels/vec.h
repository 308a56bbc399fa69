// Vec<T>: one SIMD register on GCC/Clang vector extensions. Arithmetic, comparison and selection are the operators;
// this file adds memory, lanes and loops; arithmetic.h has other operations, shuffles.h the order of elements.
// Everything lives in the namespace of the kernel set being compiled.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel_table.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace fusednet::FUSEDNET_SET {

using std::size_t;

constexpr size_t cache_line = 64;  // bytes

template <class T>
struct VecTypes;
template <>
struct VecTypes<float> {
    typedef float Vec __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
    typedef float Half __attribute__((vector_size(FUSEDNET_VECTOR_BYTES / 2)));
    typedef std::int32_t Ints __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
    typedef std::uint32_t Words __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
};
template <>
struct VecTypes<double> {
    typedef double Vec __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
    typedef double Half __attribute__((vector_size(FUSEDNET_VECTOR_BYTES / 2)));
    typedef std::int64_t Ints __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
    typedef std::uint64_t Words __attribute__((vector_size(FUSEDNET_VECTOR_BYTES)));
};

template <class T>
using Vec = typename VecTypes<T>::Vec;
template <class T>
using Ints = typename VecTypes<T>::Ints;  // as wide as T, lane by lane: comparisons and bit patterns
template <class T>
using Words = typename VecTypes<T>::Words;  // the same without a sign
template <class T>
using Int = decltype(Ints<T>{}[0] + 0);
template <class T>
constexpr size_t lanes = FUSEDNET_VECTOR_BYTES / sizeof(T);

// Half a register. AVX-512 computes with it, too (`halves`): processors that take a register in two halves take half
// the time for one.
template <class T>
using Half = typename VecTypes<T>::Half;
constexpr bool halves = FUSEDNET_VECTOR_BYTES == 64;

template <class T, class V = Vec<T>>
FUSEDNET_INLINE V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

// For what several instructions use: GCC may fold its load into each of them, and read it as often. (Not loads that may
// be misaligned of the 16 bytes of baseline x86-64; and others than x86 have no such instructions.)
template <class V>
FUSEDNET_INLINE void keep_in_register([[maybe_unused]] V& v) {
#if defined(__x86_64__)
    if constexpr (sizeof(V) > 16) __asm__("" : "+v"(v));
#endif
}

template <class T, class V>
FUSEDNET_INLINE void store(T* p, V v) {
    __builtin_memcpy(p, &v, sizeof v);
}

template <class T, class V = Vec<T>>
FUSEDNET_INLINE V broadcast(T x) {
    return x - V{};  // folds to a broadcast: x − 0 is x, signed zeros included
}

// A register of which v is all, or the first half before zeros. (Copying a half over a whole one would go through
// memory.)
template <class V>
FUSEDNET_INLINE V whole(V v) {
    return v;
}

#if FUSEDNET_VECTOR_BYTES == 64
FUSEDNET_INLINE Vec<float> whole(Half<float> v) { return (Vec<float>)_mm512_zextps256_ps512((__m256)v); }

FUSEDNET_INLINE Vec<double> whole(Half<double> v) { return (Vec<double>)_mm512_zextpd256_pd512((__m256d)v); }
#endif

template <class T>
FUSEDNET_INLINE Ints<T> broadcast_int(Int<T> x) {
    return x - Ints<T>{};
}

template <class T>
FUSEDNET_INLINE Ints<T> bits(Vec<T> v) {
    return (Ints<T>)v;
}

// All ones in the first `count` lanes.
template <class T>
FUSEDNET_INLINE Ints<T> first_lanes(size_t count) {
    Ints<T> index;
    for (size_t i = 0; i < lanes<T>; ++i) index[i] = static_cast<Int<T>>(i);
    return index < broadcast_int<T>(static_cast<Int<T>>(count));
}

// Whether a mask lets a load or store touch some lanes only. (Without masks it goes lane by lane.)
constexpr bool masks = FUSEDNET_VECTOR_BYTES > 16;

// The first `count` lanes (0 < count ≤ lanes) of memory that may end there; the other lanes are zero.
FUSEDNET_INLINE Vec<float> load_partial(const float* p, size_t count) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_maskload_ps(p, (__m256i)first_lanes<float>(count));
#else
    Vec<float> v{};
    for (size_t i = 0; i < lanes<float>; ++i) {
        if (i < count) v[i] = p[i];
    }
    return v;
#endif
}

FUSEDNET_INLINE Vec<double> load_partial(const double* p, size_t count) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p);
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_maskload_pd(p, (__m256i)first_lanes<double>(count));
#else
    return Vec<double>{count > 0 ? p[0] : 0.0, count > 1 ? p[1] : 0.0};
#endif
}

FUSEDNET_INLINE void store_partial(float* p, Vec<float> v, size_t count) {
#if FUSEDNET_VECTOR_BYTES == 64
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
#elif FUSEDNET_VECTOR_BYTES == 32
    _mm256_maskstore_ps(p, (__m256i)first_lanes<float>(count), (__m256)v);
#else
    for (size_t i = 0; i < lanes<float>; ++i) {
        if (i < count) p[i] = v[i];
    }
#endif
}

FUSEDNET_INLINE void store_partial(double* p, Vec<double> v, size_t count) {
#if FUSEDNET_VECTOR_BYTES == 64
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
#elif FUSEDNET_VECTOR_BYTES == 32
    _mm256_maskstore_pd(p, (__m256i)first_lanes<double>(count), (__m256d)v);
#else
    for (size_t i = 0; i < lanes<double>; ++i) {
        if (i < count) p[i] = v[i];
    }
#endif
}

// Whole vectors and a shorter last one over n elements: body(offset, access) is called once for each.
template <class T>
struct WholeAccess {
    FUSEDNET_INLINE Vec<T> load(const T* p) const { return FUSEDNET_SET::load(p); }
    FUSEDNET_INLINE void store(T* p, Vec<T> v) const { FUSEDNET_SET::store(p, v); }
    FUSEDNET_INLINE Vec<T> keep(Vec<T> v, T) const { return v; }
};
template <class T>
struct PartialAccess {
    size_t count;
    FUSEDNET_INLINE Vec<T> load(const T* p) const { return load_partial(p, count); }
    FUSEDNET_INLINE void store(T* p, Vec<T> v) const { store_partial(p, v, count); }
    // v in the valid lanes, `other` elsewhere: for reductions.
    FUSEDNET_INLINE Vec<T> keep(Vec<T> v, T other) const { return first_lanes<T>(count) ? v : broadcast<T>(other); }
};

template <class T, class Body>
FUSEDNET_INLINE void for_each_vector(size_t n, const Body& body) {
    size_t i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) body(i, WholeAccess<T>{});
    if (i < n) body(i, PartialAccess<T>{n - i});
}

// Folds a vector in halves: the order of the additions is fixed for a kernel set.
template <class T, size_t bytes>
struct Fold {
    typedef T Whole __attribute__((vector_size(bytes)));
    typedef T Half __attribute__((vector_size(bytes / 2)));
    struct Halves {
        Half low, high;
    };
    static FUSEDNET_INLINE Halves halves(Whole v) {
        Halves h;
        __builtin_memcpy(&h, &v, sizeof v);
        return h;
    }
    template <class Operation>
    static FUSEDNET_INLINE T apply(Whole v, Operation operation) {
        const Halves h = halves(v);
        return Fold<T, bytes / 2>::apply(operation(h.low, h.high), operation);
    }
};
template <class T>
struct Fold<T, 16> {
    typedef T Whole __attribute__((vector_size(16)));
    template <class Operation>
    static FUSEDNET_INLINE T apply(Whole v, Operation operation) {
        if constexpr (sizeof(T) == 8) {
            return operation(v[0], v[1]);
        } else {
            return operation(operation(v[0], v[1]), operation(v[2], v[3]));
        }
    }
};

template <class T>
FUSEDNET_INLINE T sum_lanes(Vec<T> v) {
    return Fold<T, FUSEDNET_VECTOR_BYTES>::apply(v, [](auto a, auto b) { return a + b; });
}

// The sum of the lanes of v + rest with the rounding errors of the tree made good; rest is small against v.
template <class T, size_t bytes>
FUSEDNET_INLINE T precise_sum_lanes(typename Fold<T, bytes>::Whole v, typename Fold<T, bytes>::Whole rest) {
    const auto two_sum = [](auto a, auto b, auto& error) {
        const auto sum = a + b, back = sum - a;
        error += (a - (sum - back)) + (b - back);
        return sum;
    };
    if constexpr (bytes > 16) {
        const auto h = Fold<T, bytes>::halves(v), r = Fold<T, bytes>::halves(rest);
        auto error = r.low + r.high;
        const auto sum = two_sum(h.low, h.high, error);
        return precise_sum_lanes<T, bytes / 2>(sum, error);
    } else {
        T sum = v[0], error = rest[0];
        for (size_t i = 1; i < bytes / sizeof(T); ++i) {
            error += rest[i];
            sum = two_sum(sum, v[i], error);
        }
        return sum + error;
    }
}

template <class T>
FUSEDNET_INLINE T max_lanes(Vec<T> v) {
    return Fold<T, FUSEDNET_VECTOR_BYTES>::apply(v, [](auto a, auto b) { return a > b ? a : b; });
}

}  // namespace fusednet::FUSEDNET_SET
