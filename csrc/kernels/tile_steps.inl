// The steps of a register tile: for each of the depth it broadcasts elements of A and loads vectors of B.
#pragma once

#include "arithmetic.h"
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

// So many rows ahead of those that are packed B comes from the second-level cache: no more, as rows that are 4096 bytes
// apart share one set of the first, of eight or twelve lines.
constexpr size_t packing_lead = 4;

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

// Whether a loop takes two steps at once. A processor that fetches the lines a load will want by the distance between
// its last two then comes twice as far ahead, and there is less to count. Not if interruptions leave few steps to a
// loop, nor for AVX2's transposed A: 16 registers are too few for the addresses of two steps.
template <bool across, bool interrupted, size_t rows, class Columns>
constexpr bool takes_pairs = !interrupted && FUSEDNET_VECTOR_BYTES >= (across ? 64 : 32) && (rows > tile_rows / 2) &&
                             Columns::vectors == tile_vectors;

// sum += a · b where the sum is: in a loop of two steps GCC has sums change places, and then lacks a register.
template <class V>
FUSEDNET_INLINE void accumulate(V& sum, V a, V b) {
#if FUSEDNET_VECTOR_BYTES >= 32
    if constexpr (sizeof(sum[0]) == sizeof(float)) {
        __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    } else {
        __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    }
#else
    sum = fma(a, b, sum);
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
    constexpr bool pairs = takes_pairs<across, interrupted, rows, Columns>;
    constexpr size_t groups = across ? 1 : (rows + 2) / 3;
    const T* base[groups];
#pragma GCC unroll 8
    for (size_t g = 0; g < groups; ++g) base[g] = f.a + 3 * g * f.lda;
    const auto take = [&](auto steps) FUSEDNET_ALWAYS_INLINE {
#pragma GCC unroll 2
        for (size_t s = 0; s < steps.n; ++s) {
            const T *a = base[0] + (across ? s * f.lda : 0), *b = f.b + s * f.ldb;
            if (across && s > 0) __asm__("" : "+r"(a));  // else each element has a pointer of its own
            V line[vectors];
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; ++v) {
                line[v] = load<T, V>(b + v * Columns::lanes);
                if constexpr (rows == 2 || rows == 3) keep_in_register(line[v]);  // of more GCC does so itself
                if constexpr (packing) store(f.panel + s * Columns::width + v * Columns::lanes, line[v]);
            }
            if constexpr (packing) {
#pragma GCC unroll 2
                for (size_t j = 0; j < Columns::width; j += cache_line / sizeof(T))
                    __builtin_prefetch(b + packing_lead * f.ldb + j);
            }
#pragma GCC unroll 16
            for (size_t i = 0; i < rows; ++i) {
                const V x = broadcast<T, V>(across ? a[i] : base[i / 3][i % 3 * f.lda + s]);
#pragma GCC unroll 8
                for (size_t v = 0; v < vectors; ++v) {
                    if constexpr (pairs) {
                        accumulate(acc[i][v], x, line[v]);
                    } else {
                        acc[i][v] = fma(x, line[v], acc[i][v]);
                    }
                }
            }
        }
        if constexpr (packing) f.panel += steps.n * Columns::width;
#pragma GCC unroll 8
        for (size_t g = 0; g < groups; ++g) base[g] += steps.n * (across ? f.lda : 1);
        f.b += steps.n * f.ldb;
    };
    const auto advance = [&](size_t steps) FUSEDNET_ALWAYS_INLINE {
        start_amid_line();
        if constexpr (pairs) {
            if (steps % 2 != 0) take(Count<1>{});
            for (steps /= 2; steps != 0; --steps) take(Count<2>{});
        } else {
            do take(Count<1>{});
            while (--steps != 0);
        }
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

}  // namespace fusednet::FUSEDNET_SET
