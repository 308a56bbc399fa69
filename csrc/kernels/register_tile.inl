// The register tile that does the arithmetic of all products, `tile_rows` × `tile_vectors` vectors: it broadcasts an
// element of A and loads vectors of B. Every element of a result is summed over the depth in ascending order by its own
// chain of multiply-adds, so its bits depend neither on the tile it falls into nor on how the work is split over
// threads. (Some products have other chains, by the shape alone: the narrow one of narrow_tile.inl has two, of even and
// of odd steps; those with a single column or a few, and the input gradient of a single row, are dot products, in
// dot_tile.inl and few_columns.inl.)
#pragma once

#include "elementary.inl"
#include "kernel_table.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

template <size_t value>
struct Count {
    static constexpr size_t n = value;
};

// body(Count<count>) for a count from `least` to `largest`.
template <size_t least, size_t largest, class Body>
FUSEDNET_INLINE void with_count(size_t count, const Body& body) {
    if constexpr (largest == least) {
        body(Count<least>{});
    } else if (count == largest) {
        body(Count<largest>{});
    } else {
        with_count<least, largest - 1>(count, body);
    }
}

constexpr size_t row_vectors = FUSEDNET_ROW_VECTORS;  // of a single row: enough chains to hide the latency

// So many rows ahead of those that are packed B comes from the second-level cache: no more, as rows that are 4096 bytes
// apart share one set of the first, of eight or twelve lines.
constexpr size_t packing_lead = 4;

template <class T>
constexpr T no_floor = -static_cast<T>(__builtin_inf());

// The columns of a register tile: so many vectors.
template <class V, size_t count>
struct TileColumns {
    using Vector = V;
    static constexpr size_t vectors = count, lanes = sizeof(V) / sizeof(V{}[0]), width = vectors * lanes;
};

// So many rows of a tile may be stored all at once, while the next tile computes: a dozen vectors of AVX-512.
constexpr size_t rows_at_once = last_steps > 0 ? 6 : tile_rows;
static_assert(last_steps == 0 || last_steps == 2);  // as finish_tile takes them

// More rows take their last steps one after the other, and each is stored before the next one's: where a store takes
// two cycles, as of 64 bytes on Zen 4, all of them together would hold up the next tile for as long as a step or two.
template <size_t rows, class Columns>
constexpr bool ends_by_rows = (rows > rows_at_once) && Columns::vectors == tile_vectors;

// In tiles that are interrupted, most of them of a W that is far, so many rows are read before the one above them is
// written. Where rows are a multiple of 1 KiB apart, the last twelve bits of their addresses repeat, and a processor
// that compares only those has the load of a row wait for the store of one that it takes for the same. (A tile of
// three rows takes longer so.)
constexpr size_t rows_behind = tile_rows > 3 ? 4 : 0;

// What a tile multiplies: A (rows, depth), or transposed, (depth, rows), and B. A tile that is `packing` copies the
// lines of B to `panel` on the way, where the next tiles find them side by side.
template <class T>
struct Factors {
    const T* a;
    size_t lda;
    const T* b;
    size_t ldb;
    T* panel;
};

// Before a loop of the 16-byte tiles of x86, which are two lines of code and a few bytes long. Where such a loop starts
// with a line, those few bytes take a Zen 5 a cycle of seven: from here it starts a quarter of a line on, or, where the
// compiler has moved something in between, somewhat later.
FUSEDNET_INLINE void start_amid_line() {
#if FUSEDNET_VECTOR_BYTES == 16 && defined(__x86_64__)
    __asm__ volatile(".p2align 6\n\tnop\n\t.p2align 4");
#endif
}

// acc (rows, vectors) += A · B (depth, vectors), but for the last steps of a tile that ends by rows, to which `f` moves
// on: it must be as deep as those, and any tile a step. `across`: A is transposed. Else its rows are reached from a
// pointer for every three, by the addressing modes of x86: a pointer or an offset for each would not fit into the
// registers. `interrupted`: every ahead->interval() steps ahead->next() fetches or transposes what comes next.
template <bool across, bool packing, bool interrupted, size_t rows, class Columns, class T, class Ahead>
FUSEDNET_INLINE void multiply_add(Factors<T>& f, size_t depth, Ahead* ahead,
                                  typename Columns::Vector (&acc)[rows][Columns::vectors]) {
    using V = typename Columns::Vector;
    constexpr size_t vectors = Columns::vectors, last = ends_by_rows<rows, Columns> ? last_steps : 0;
    constexpr size_t groups = across ? 1 : (rows + 2) / 3;
    const T* base[groups];
#pragma GCC unroll 8
    for (size_t g = 0; g < groups; ++g) base[g] = f.a + 3 * g * f.lda;
    const auto advance = [&](size_t steps) FUSEDNET_ALWAYS_INLINE {
        start_amid_line();
        do {
            V line[vectors];
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; ++v) {
                line[v] = load<T, V>(f.b + v * Columns::lanes);
                if constexpr (rows == 2 || rows == 3) keep_in_register(line[v]);  // of more GCC does so itself
                if constexpr (packing) store(f.panel + v * Columns::lanes, line[v]);
            }
            if constexpr (packing) {
                f.panel += Columns::width;
#pragma GCC unroll 2
                for (size_t j = 0; j < Columns::width; j += cache_line / sizeof(T))
                    __builtin_prefetch(f.b + packing_lead * f.ldb + j);
            }
#pragma GCC unroll 16
            for (size_t i = 0; i < rows; ++i) {
                const V x = broadcast<T, V>(across ? base[0][i] : base[i / 3][i % 3 * f.lda]);
#pragma GCC unroll 8
                for (size_t v = 0; v < vectors; ++v) acc[i][v] = fma(x, line[v], acc[i][v]);
            }
#pragma GCC unroll 8
            for (size_t g = 0; g < groups; ++g) base[g] += across ? f.lda : 1;
            f.b += f.ldb;
        } while (--steps != 0);
    };
    depth -= last;
    if constexpr (interrupted) {
        while (depth > ahead->interval()) {
            const size_t steps = ahead->interval();
            advance(steps);
            depth -= steps;
            ahead->next();
        }
    }
    if (last == 0 || depth > 0) advance(depth);
    f.a = base[0];
}

// finish(row) for each row, after its last steps where the tile ends by rows, and so many rows behind it save(row).
template <bool across, bool packing, size_t behind, size_t rows, class Columns, class T, class Finish, class Save>
FUSEDNET_INLINE void finish_tile(const Factors<T>& f, typename Columns::Vector (&acc)[rows][Columns::vectors],
                                 const Finish& finish, const Save& save) {
    const auto finish_row = [&](size_t i) FUSEDNET_ALWAYS_INLINE {
        finish(i);
        if (i >= behind) save(i - behind);
    };
    if constexpr (!ends_by_rows<rows, Columns>) {
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) finish_row(i);
    } else {
        using V = typename Columns::Vector;
        const T *a = f.a, *second = f.b + f.ldb;
        V first[Columns::vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < Columns::vectors; ++v) {
            const size_t j = v * Columns::lanes;
            first[v] = load<T, V>(f.b + j);
            if constexpr (packing) {
                store(f.panel + j, first[v]);
                store(f.panel + Columns::width + j, load<T, V>(second + j));
            }
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) {
            // Else all addresses are worked out before, and the second line is kept: more than there are registers.
            __asm__("" : "+r"(a), "+r"(second));
            const V x = broadcast<T, V>(a[0]), next = broadcast<T, V>(a[across ? f.lda : 1]);
#pragma GCC unroll 8
            for (size_t v = 0; v < Columns::vectors; ++v) {
                acc[i][v] = fma(x, first[v], acc[i][v]);
                acc[i][v] = fma(next, load<T, V>(second + v * Columns::lanes), acc[i][v]);
            }
            a += across ? 1 : f.lda;
            finish_row(i);
        }
    }
#pragma GCC unroll 16
    for (size_t i = rows - behind; i < rows; ++i) save(i);
}

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
