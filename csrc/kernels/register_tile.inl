// The register tile that does the arithmetic of all products, `tile_rows` × `tile_vectors` vectors: it broadcasts an
// element of A and loads vectors of B. Every element of a result is summed over the depth in ascending order by its own
// chain of multiply-adds, so its bits depend neither on the tile it falls into nor on how the work is split over
// threads. (Some products have other chains, by the shape alone: the narrow one of narrow_tile.inl has two, of even and
// of odd steps; those with a single column or a few, and the input gradient of a single row, are dot products, in
// dot_tile.inl and few_columns.inl.)
#pragma once

#include "elementary.inl"
#include "kernel_table.h"
#include "tile_steps.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t row_vectors = FUSEDNET_ROW_VECTORS;  // of a single row: enough chains to hide the latency

template <class T>
constexpr T no_floor = -static_cast<T>(__builtin_inf());

// In tiles that are interrupted, most of them of a W that is far, so many rows are read before the one above them is
// written. Where rows are a multiple of 1 KiB apart, the last twelve bits of their addresses repeat, and a processor
// that compares only those has the load of a row wait for the store of one that it takes for the same. (A tile of
// three rows takes longer so.)
constexpr size_t rows_behind = tile_rows > 3 ? 4 : 0;

// body(row, vector, offset) for each vector of a tile of a matrix with that leading dimension.
template <size_t rows, class Columns, class Body>
FUSEDNET_INLINE void for_each_element(size_t ld, const Body& body) {
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
        for (size_t v = 0; v < Columns::vectors; ++v) body(i, v, i * ld + v * Columns::lanes);
    }
}

// What becomes of forward's sums: max(sum, floor). A floor of zero is ReLU. (Of the input gradient's: Gate.)
template <class T>
struct Floor {
    T floor;

    template <class Tile>
    FUSEDNET_INLINE void finish(const Tile& tile) const {
        // A bound takes as long as a multiply-add; with shorter vectors the branch around it took longer.
        if (FUSEDNET_VECTOR_BYTES == 64 && floor == no_floor<T>) {
            tile([](auto sum, size_t) FUSEDNET_ALWAYS_INLINE { return sum; });
        } else {
            tile([this](auto sum, size_t) FUSEDNET_ALWAYS_INLINE { return clamp_below(sum, floor); });
        }
    }
};

// C (rows, columns) = start + A · B, where start is one row for all (the bias) or C itself (a later depth block), and
// what `last` makes of it: a pass of its own would take as long as several steps of the depth.
template <bool packing, bool interrupted, size_t rows, class Columns, class T, class Ahead, class Last>
__attribute__((noinline)) void product_tile(const T* a, size_t lda, const T* b, size_t ldb, size_t depth,
                                            const T* start, T* c, size_t ldc, Last last, T* panel, Ahead* ahead) {
    using V = typename Columns::Vector;
    V acc[rows][Columns::vectors];
    if (start != nullptr) {
        V line[Columns::vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < Columns::vectors; ++v) line[v] = load<T, V>(start + v * Columns::lanes);
        for_each_element<rows, Columns>(0, [&](size_t i, size_t v, size_t) { acc[i][v] = line[v]; });
    } else {
        for_each_element<rows, Columns>(ldc, [&](size_t i, size_t v, size_t j) { acc[i][v] = load<T, V>(c + j); });
    }
    Factors<T> factors{a, lda, b, ldb, panel};
    multiply_add<false, packing, interrupted, rows, Columns>(factors, depth, ahead, acc);
    last.finish([&](auto finish) FUSEDNET_ALWAYS_INLINE {
        size_t row = 0;
        const auto save = [&](size_t i) FUSEDNET_ALWAYS_INLINE {
            __asm__("" : "+r"(row));  // else the rows' addresses are worked out before, and kept in memory
#pragma GCC unroll 8
            for (size_t v = 0; v < Columns::vectors; ++v) {
                const size_t j = row + v * Columns::lanes;
                store(c + j, finish(acc[i][v], j));
            }
            row += ldc;
        };
        finish_tile<false, packing, 0, rows, Columns>(factors, acc, [](size_t) {}, save);
    });
}

// finish(with_weight), where with_weight(sum, weight) is what WeightGradient says of a sum and the old weight().
template <class T, class Finish>
FUSEDNET_INLINE void finish_weights(const WeightGradient<T>& g, const Finish& finish) {
    const Vec<T> factor = broadcast(g.factor);
    if (g.decay != T(0)) {
        const Vec<T> decay = broadcast(g.decay), kept = broadcast(T(g.update ? 1 : 0));
        finish([=](Vec<T> sum, auto weight) {
            const Vec<T> w = weight();
            return fma(fma(w, decay, sum), factor, w * kept);
        });
    } else if (g.update) {
        finish([=](Vec<T> sum, auto weight) { return fma(sum, factor, weight()); });
    } else {
        finish([=](Vec<T> sum, auto) { return sum * factor; });
    }
}

// Whether rows of W that are not whole vectors follow each other: the mask of a row's last store would reach over the
// next row, which the processor does not load before that is through.
template <class T>
FUSEDNET_INLINE bool are_adjacent(const WeightGradient<T>& g, size_t columns) {
    return masks && columns == g.ldw && columns % lanes<T> != 0;
}

// out (rows, columns) for a part of W by its sums, which lie side by side, as its rows may.
template <class T>
__attribute__((noinline)) void finish_rows(const WeightGradient<T>& g, size_t offset, const T* sums, size_t rows,
                                           size_t columns) {
    const bool adjacent = columns == g.ldw;
    const size_t count = adjacent ? 1 : rows, length = adjacent ? rows * columns : columns;
    finish_weights(g, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
        for (size_t i = 0; i < count; ++i) {
            const T *w = g.w + offset + i * g.ldw, *sum = sums + i * length;
            T* out = g.out + offset + i * g.ldw;
            for_each_vector<T>(length, [&](size_t j, auto access) {
                access.store(out + j, with_weight(access.load(sum + j), [=] { return access.load(w + j); }));
            });
        }
    });
}

// out (rows, columns) for a tile of W: see WeightGradient.
template <bool packing, bool interrupted, size_t rows, class Columns, class T, class Ahead>
__attribute__((noinline)) void update_tile(const WeightGradient<T>& g, size_t offset, size_t columns, const T* x,
                                           size_t ldx, const T* dz, size_t lddz, T* panel, Ahead* ahead) {
    typename Columns::Vector acc[rows][Columns::vectors] = {};
    Factors<T> factors{x, ldx, dz, lddz, panel};
    multiply_add<true, packing, interrupted, rows, Columns>(factors, g.m, ahead, acc);
    // By way of memory, too, where masks would double the code of a tile that ends by rows.
    constexpr bool by_rows = ends_by_rows<rows, Columns>;
    if (by_rows ? columns < Columns::width : are_adjacent(g, columns)) {
        // Each row over what the one before has left beyond the columns, which are no more than the width.
        T sums[rows * whole_vectors<T>(Columns::width)];
        const auto save = [&](size_t i) FUSEDNET_ALWAYS_INLINE {
#pragma GCC unroll 8
            for (size_t v = 0; v < Columns::vectors; ++v)
                store(sums + i * columns + v * Columns::lanes, whole(acc[i][v]));
        };
        finish_tile<true, packing, 0, rows, Columns>(factors, acc, [](size_t) {}, save);
        return finish_rows(g, offset, sums, rows, columns);
    }
    // Only the last of a row's vectors may reach beyond the matrix, and half a vector always does.
    const auto is_whole = [=](size_t v) FUSEDNET_ALWAYS_INLINE {
        const bool last = v + 1 == Columns::vectors, half = Columns::lanes < lanes<T>;
        return by_rows || !last || (!half && columns - v * lanes<T> >= lanes<T>);
    };
    constexpr size_t behind = interrupted ? at_most(rows, rows_behind) : 0;
    finish_weights(g, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
        const T* w = g.w + offset;
        T* out = g.out + offset;
        const size_t ldw = g.ldw;
        Vec<T> results[rows][Columns::vectors];
        const auto finish = [&](size_t i) FUSEDNET_ALWAYS_INLINE {
            __asm__("" : "+r"(w));  // else all rows' addresses are worked out before, and kept in memory
#pragma GCC unroll 8
            for (size_t v = 0; v < Columns::vectors; ++v) {
                const size_t j = v * lanes<T>, remaining = columns - j;
                const Vec<T> sum = whole(acc[i][v]);
                results[i][v] = is_whole(v) ? with_weight(sum, [=] { return load(w + j); })
                                            : with_weight(sum, [=] { return load_partial(w + j, remaining); });
            }
            w += ldw;
        };
        const auto save = [&](size_t i) FUSEDNET_ALWAYS_INLINE {
            __asm__("" : "+r"(out));
#pragma GCC unroll 8
            for (size_t v = 0; v < Columns::vectors; ++v) {
                const size_t j = v * lanes<T>;
                is_whole(v) ? store(out + j, results[i][v]) : store_partial(out + j, results[i][v], columns - j);
            }
            out += ldw;
        };
        finish_tile<true, packing, behind, rows, Columns>(factors, acc, finish, save);
    });
}

}  // namespace fusednet::FUSEDNET_SET
