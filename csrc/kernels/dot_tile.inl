// Products whose result is a single column or row: dot products by vectors, for several rows at a time.
#pragma once

#include "prefetch.inl"
#include "register_tile.inl"
#include "shuffles.h"

namespace fusednet::FUSEDNET_SET {

// The sum of as many vectors as a piece has elements, in the order in which sum_lanes adds those.
template <class T>
FUSEDNET_INLINE Vec<T> sum_piece(const Vec<T>* v) {
    if constexpr (piece<T> == 4) {
        return (v[0] + v[1]) + (v[2] + v[3]);
    } else {
        return v[0] + v[1];
    }
}

// Lane i is sum_lanes(v[i]), the same additions in the same order.
template <class T>
FUSEDNET_INLINE Vec<T> sum_each(const Vec<T> (&v)[lanes<T>]) {
    Vec<T> r[piece<T>];  // piece b of r[i] is that of v[b * piece + i]: the sum of its pieces
#pragma GCC unroll 4
    for (size_t i = 0; i < piece<T>; ++i) {
        const Vec<T>* const u = v + i;
#if FUSEDNET_VECTOR_BYTES == 16
        r[i] = u[0];
#else
        using Pairs = Vec<double>;  // of floats
        const auto add_halves = [](Vec<T> a, Vec<T> b) FUSEDNET_ALWAYS_INLINE {
            return (Vec<T>)lower_halves((Pairs)a, (Pairs)b) + (Vec<T>)upper_halves((Pairs)a, (Pairs)b);
        };
#if FUSEDNET_VECTOR_BYTES == 32
        r[i] = add_halves(u[0], u[piece<T>]);
#else
        const Pairs a = (Pairs)add_halves(u[0], u[2 * piece<T>]), b = (Pairs)add_halves(u[piece<T>], u[3 * piece<T>]);
        r[i] = (Vec<T>)even_pieces(a, b) + (Vec<T>)odd_pieces(a, b);
#endif
#endif
    }
    transpose_pieces<T>(r);
    return sum_piece<T>(r);
}

// Lane i is sum_lanes of the lanes i of v: the sum where each of them is a chain of its own.
template <class T>
FUSEDNET_INLINE Vec<T> sum_chains(Vec<T> (&v)[lanes<T>]) {
#pragma GCC unroll 4
    for (size_t half = lanes<T> / 2; half >= piece<T>; half /= 2) {
#pragma GCC unroll 8
        for (size_t i = 0; i < half; ++i) v[i] += v[i + half];
    }
    return sum_piece<T>(v);
}

// y[i] = start + x[i, :] · w for contiguous w: the products whose result is a single, contiguous column or row. (One
// column of a wider result goes through the tiles: its bits must not depend on where the result was split.)
template <size_t rows, class T>
FUSEDNET_INLINE void dot_tile(const T* x, size_t ldx, const T* w, size_t k, T start, T* y, size_t ldy) {
    Vec<T> acc[rows] = {};
    for_each_vector<T>(k, [&](size_t p, auto access) {
        const Vec<T> line = access.load(w + p);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) acc[i] = fma(access.load(x + i * ldx + p), line, acc[i]);
    });
    if constexpr (rows == lanes<T>) {
        const Vec<T> sums = broadcast(start) + sum_each<T>(acc);
        if (ldy == 1) return store(y, sums);
        for (size_t i = 0; i < rows; ++i) y[i * ldy] = sums[i];
    } else {
        for (size_t i = 0; i < rows; ++i) y[i * ldy] = start + sum_lanes<T>(acc[i]);
    }
}

// The same bits for as many rows of k inputs as a vector has lanes, by their columns: k is no more than a block has. It
// reaches over so many elements `before` the rows, and others that follow.
template <size_t k, size_t before, class T>
FUSEDNET_INLINE void dot_short_tile(const T* x, size_t ldx, const T* w, T start, T* y) {
    T columns[block_columns<T>][lanes<T>];
    if (k == 1 && ldx == 1) {
        store(columns[before], load(x));
    } else {
        transpose_block(x - before, ldx, columns[0], lanes<T>);
    }
    Vec<T> sums[lanes<T>] = {};
#pragma GCC unroll 8
    for (size_t j = 0; j < k; ++j) sums[j] = fma(load(columns[before + j]), broadcast(w[j]), sums[j]);
    store(y, broadcast(start) + sum_chains<T>(sums));
}

// Of rows that are many. Only for the first are the elements to reach over those that follow.
template <class T>
void dot_short_rows(const T* x, size_t ldx, const T* w, size_t m, size_t k, T start, T* y) {
    with_count<1, block_columns<T>>(k, [=](auto inputs) {
        dot_short_tile<inputs.n, 0>(x, ldx, w, start, y);
        for (size_t i = lanes<T>; i + lanes<T> <= m; i += lanes<T>)
            dot_short_tile<inputs.n, block_columns<T> - inputs.n>(x + i * ldx, ldx, w, start, y + i);
    });
}

template <class T>
constexpr size_t dot_tile_rows = lanes<T> > 4 ? lanes<T> : 4;

// Of as many rows as make up tiles; returns how many. (Apart: what they all need a single row would save and restore.)
template <class T>
__attribute__((noinline)) size_t dot_tiles(const T* x, size_t ldx, const T* w, size_t m, size_t k, T start, T* y,
                                           size_t ldy, ReadAhead* ahead) {
    constexpr size_t many = 8 * lanes<T>;  // of fewer a block would wait for what was just stored
    static_assert(many >= lanes<T> + block_columns<T>);
    if (k <= block_columns<T> && m >= many && ldy == 1) {
        dot_short_rows(x, ldx, w, m, k, start, y);
        return m - m % lanes<T>;
    }
    // From memory a processor reads ahead by itself where long rows go on, and short ones as a whole.
    const size_t row = k * sizeof(T);
    const bool fetching = are_many(ahead) && ahead->uncached && row >= 4 * cache_line && row < 32 * cache_line;
    constexpr size_t rows = dot_tile_rows<T>;
    size_t i = 0;
    for (; i + rows <= m; i += rows) {
        if (fetching) read_ahead(ahead, rows * row);
        dot_tile<rows>(x + i * ldx, ldx, w, k, start, y + i * ldy, ldy);
    }
    return i;
}

template <class T>
void dot_rows(const T* x, size_t ldx, const T* w, size_t m, size_t k, T start, T* y, size_t ldy, ReadAhead* ahead) {
    size_t i = m >= dot_tile_rows<T> ? dot_tiles(x, ldx, w, m, k, start, y, ldy, ahead) : 0;
    const auto tiles = [&](auto rows) FUSEDNET_ALWAYS_INLINE {
        for (; i + rows.n <= m; i += rows.n) dot_tile<rows.n>(x + i * ldx, ldx, w, k, start, y + i * ldy, ldy);
    };
    if constexpr (dot_tile_rows<T> > 4) tiles(Count<4>{});
    tiles(Count<1>{});
}

}  // namespace fusednet::FUSEDNET_SET
