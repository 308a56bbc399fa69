// Tiles of fewer columns than half a vector or a few pieces have, where whole vectors would multiply lanes that nobody
// wants.
#pragma once

#include "prefetch.inl"
#include "register_tile.inl"
#include "shuffles.h"

namespace fusednet::FUSEDNET_SET {

// product_tile for a piece of columns or fewer: half a vector takes two rows of B at a time (see pack_pairs).
template <size_t rows, class T>
__attribute__((noinline)) void product_narrow_tile(const T* a, size_t lda, const T* pairs, size_t depth, const T* start,
                                                   T* c, size_t ldc, T floor, ReadAhead* rows_ahead) {
    Half<T> acc[rows] = {};
    const auto advance = [&](const auto& pair) FUSEDNET_ALWAYS_INLINE {
        const Half<T> line = load<T, Half<T>>(pairs);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) acc[i] = fma(pair(a + i * lda), line, acc[i]);
        pairs += 2 * piece<T>;
    };
    const size_t interval = burst_interval(rows_ahead, 4 * rows * piece<T>);
    for (size_t left = depth / 2; left > 0; read_ahead(rows_ahead)) {
        const size_t steps = at_most(left, interval);
        for (size_t p = 0; p < steps; ++p, a += 2) advance([](const T* x) { return broadcast_pair(x); });
        left -= steps;
    }
    if (depth % 2 != 0) {
        advance([](const T* x) {
            const T last[2] = {*x, T(0)};
            return broadcast_pair(last);
        });
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i, c += ldc) {
        const Half<T> first = load<T, Half<T>>(start != nullptr ? start : c);
        store(c, clamp_below(first + sum_pairs(acc[i]), floor));
    }
}

// Up to so many pieces of last columns of W have tiles of their own.
constexpr size_t narrow_pieces = 3;

template <class T>
constexpr size_t whole_pieces(size_t n) {
    return (n + piece<T> - 1) / piece<T> * piece<T>;
}

// Whether so many last columns have: of whole vectors a quarter of the lanes or more would be nobody's, and the depth
// repays the transposition that follows. If it is less than half, it has to be much, and of so many rows that whole
// vectors go down them. (Either tile gives the same bits.)
template <class T>
FUSEDNET_INLINE bool is_narrow(const WeightGradient<T>& g, size_t columns) {
    const size_t width = whole_vectors<T>(columns);
    if (!masks || columns > narrow_pieces * piece<T> || 4 * columns > 3 * width) return false;
    return 2 * columns <= width ? g.m >= lanes<T> : g.m >= 64 && g.k >= 4 * lanes<T>;
}

// The vectors of rows of such a tile: with each a sum for each column in a register, and what is multiplied.
template <size_t width>
constexpr size_t narrow_vectors = 2 * (width + 1) < (FUSEDNET_VECTOR_BYTES == 64 ? 32 : 16) ? 2 : 1;

// update_tile for those: here the vectors go down the rows, and multiply `width` columns, no more than are wanted or a
// piece. The last one may have more lanes than there are rows.
template <size_t vectors, size_t width, class T>
__attribute__((noinline)) void update_narrow_tile(const WeightGradient<T>& g, size_t offset, size_t rows,
                                                  size_t columns, const T* x, const T* dz) {
    constexpr size_t pieces = whole_pieces<T>(width) / piece<T>;
    Vec<T> acc[vectors][pieces][piece<T>] = {};
    const size_t rest = rows - (vectors - 1) * lanes<T>;
    const size_t interval = burst_interval(g.ahead, 2 * vectors * lanes<T> * width);
    for (size_t left = g.m; left > 0; read_ahead(g.ahead)) {
        const size_t steps = at_most(left, interval);
        for (size_t p = 0; p < steps; ++p, x += g.ldx, dz += g.lddz) {
            Vec<T> line[vectors];
            for (size_t v = 0; v < vectors; ++v)
                line[v] = v + 1 < vectors ? load(x + v * lanes<T>) : load_partial(x + v * lanes<T>, rest);
#pragma GCC unroll 12
            for (size_t j = 0; j < width; ++j) {
                const Vec<T> factor = broadcast(dz[j]);
#pragma GCC unroll 2
                for (size_t v = 0; v < vectors; ++v) {
                    Vec<T>& sum = acc[v][j / piece<T>][j % piece<T>];
                    sum = fma(line[v], factor, sum);
                }
            }
        }
        left -= steps;
    }
    T transposed[pieces][piece<T>][lanes<T>];
    T sums[vectors * lanes<T> * width + piece<T>];
#pragma GCC unroll 2  // else the sums may live in memory, and be stored in every step of the depth
    for (size_t v = 0; v < vectors; ++v) {
#pragma GCC unroll 3
        for (size_t q = 0; q < pieces; ++q) {
            transpose_pieces<T>(acc[v][q]);
#pragma GCC unroll 4
            for (size_t j = 0; j < piece<T>; ++j) store(transposed[q][j], acc[v][q][j]);
        }
        for (size_t i = 0; i < lanes<T>; ++i) {
            for (size_t q = 0; q < pieces; ++q) {  // each piece over what the one before has left behind its columns
                __builtin_memcpy(sums + (v * lanes<T> + i) * columns + q * piece<T>, row_of_pieces(transposed[q], i),
                                 piece<T> * sizeof(T));
            }
        }
    }
    finish_rows(g, offset, sums, rows, columns);
}

}  // namespace fusednet::FUSEDNET_SET
