// Dropout, drawn by the counter-based generator Philox4x32-10 (Salmon et al., SC 2011).
#pragma once

#include "arithmetic.h"
#include "kernel_table.h"
#include "shuffles.h"

namespace fusednet::FUSEDNET_SET {

// Words of 32 bits, each the lower half of a lane. What the upper halves hold doesn't matter.
using Lanes = Words<double>;

FUSEDNET_INLINE Lanes multiply(Lanes a, std::uint32_t b) {
#if FUSEDNET_VECTOR_BYTES == 64
    return (Lanes)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif FUSEDNET_VECTOR_BYTES == 32
    return (Lanes)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
    return (Lanes)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif defined(__aarch64__)
    return (Lanes)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
#else
    return (a & 0xffffffffu) * b;
#endif
}

constexpr int philox_rounds = 10;

// The key of each round.
struct PhiloxKeys {
    std::uint64_t word[philox_rounds][2];

    explicit PhiloxKeys(std::uint64_t seed) {
        auto first = static_cast<std::uint32_t>(seed), second = static_cast<std::uint32_t>(seed >> 32);
        for (auto& key : word) {
            key[0] = first;
            key[1] = second;
            first += 0x9E3779B9u;
            second += 0xBB67AE85u;
        }
    }
};

// Each lane has a counter of four words.
FUSEDNET_INLINE void philox(Lanes (&c)[4], const PhiloxKeys& keys) {
#pragma GCC unroll 10
    for (const auto& key : keys.word) {
        const Lanes product0 = multiply(c[0], 0xD2511F53u), product1 = multiply(c[2], 0xCD9E8D57u);
        c[0] = (product1 >> 32) ^ c[1] ^ key[0];
        c[1] = product1;
        c[2] = (product0 >> 32) ^ c[3] ^ key[1];
        c[3] = product0;
    }
}

constexpr size_t drawn_columns = 4 * lanes<double>;  // at a time: two vectors of words without gaps

// drop = all ones where a word is below the threshold, else 0, for as many columns from `first`.
FUSEDNET_INLINE void draw(const Lanes (&counter)[4], size_t first, const PhiloxKeys& keys, std::uint32_t threshold,
                          std::int32_t (&drop)[drawn_columns]) {
    Lanes c[4] = {counter[0] + first / 4, counter[1], counter[2], counter[3]};
    philox(c, keys);
    const auto pair = [](Lanes low, Lanes high) FUSEDNET_ALWAYS_INLINE {
        return (Vec<double>)((low & std::uint64_t{0xffffffff}) | (high << 32));
    };
    const Vec<double> first_two = pair(c[0], c[1]), last_two = pair(c[2], c[3]);
    const Ints<float> lowest = broadcast_int<float>(INT32_MIN);  // makes a signed comparison of an unsigned one
    const Ints<float> limit = broadcast_int<float>(static_cast<std::int32_t>(threshold)) ^ lowest;
    store(drop, ((Ints<float>)interleave_low(first_two, last_two) ^ lowest) < limit);
    store(drop + lanes<float>, ((Ints<float>)interleave_high(first_two, last_two) ^ lowest) < limit);
}

typedef std::int32_t HalfInts __attribute__((vector_size(FUSEDNET_VECTOR_BYTES / 2)));

// As wide as T.
template <class T>
FUSEDNET_INLINE Ints<T> load_drop(const std::int32_t* p) {
    if constexpr (sizeof(T) == sizeof *p) {
        return load<std::int32_t, Ints<T>>(p);
    } else {
        return __builtin_convertvector(load<std::int32_t, HalfInts>(p), Ints<T>);
    }
}

// Counter: (column / 4, row, step, layer and the step's high half); key: the seed. Column 4q + w takes word w.
template <class T>
void dropout(const DropoutArguments<T>& a) {
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const std::uint32_t threshold = low(static_cast<std::uint64_t>(a.rate * 4294967296.0));
    const Vec<T> keep = broadcast(static_cast<T>(1.0 / (1.0 - a.rate)));
    const PhiloxKeys keys(a.seed);
    // The counters of lanes, in such an order that interleaving their words puts the columns into theirs.
    Lanes order;
    for (size_t i = 0; i < lanes<double>; ++i) order[i] = i % 2 * (lanes<double> / 2) + i / 2;
    for (size_t i = 0; i < a.rows; ++i) {
        const Lanes counter[4] = {order, Lanes{} + low(a.first_row + i), Lanes{} + low(a.step),
                                  Lanes{} + (a.layer ^ (high(a.step) << 8))};
        for (size_t j = 0; j < a.columns; j += drawn_columns) {
            std::int32_t drop[drawn_columns];
            draw(counter, j, keys, threshold, drop);
            const size_t offset = i * a.ld + j;
            for_each_vector<T>(a.columns - j < drawn_columns ? a.columns - j : drawn_columns,
                               [&](size_t k, auto access) {
                                   const Vec<T> mask = (Vec<T>)(~load_drop<T>(drop + k) & bits<T>(keep));
                                   access.store(a.mask + offset + k, mask);
                                   access.store(a.out + offset + k, access.load(a.a + offset + k) * mask);
                               });
        }
    }
}

}  // namespace fusednet::FUSEDNET_SET
