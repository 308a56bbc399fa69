// The three matrix products of a dense layer. One register tile of `tile_rows` × 2 vectors does the arithmetic of all
// of them: it broadcasts an element of A and loads vectors of B. Every element of a result is summed over the depth in
// ascending order by its own chain of multiply-adds, so its bits depend neither on the tile it falls into nor on how
// the work is split over threads.
#pragma once

#include "activations.inl"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t tile_rows = FUSEDNET_TILE_ROWS;
constexpr size_t row_vectors = FUSEDNET_ROW_VECTORS;  // for a single row: enough chains to hide the latency
constexpr size_t depth_block = 256;                   // of B rows per pass: a panel and rows of A stay in the L1 cache

template <size_t value>
struct Count {
    static constexpr size_t n = value;
};

template <size_t largest, class Body>
FUSEDNET_INLINE void with_count(size_t count, Body body) {
    if constexpr (largest == 1) {
        body(Count<1>{});
    } else if (count == largest) {
        body(Count<largest>{});
    } else {
        with_count<largest - 1>(count, body);
    }
}

// Cuts m rows into ⌈m / tile_rows⌉ tiles of nearly equal height: 16 rows are 8 + 8, not 12 + 4.
template <class Body>
FUSEDNET_INLINE void for_each_row_tile(size_t m, Body body) {
    const size_t tiles = (m + tile_rows - 1) / tile_rows;
    for (size_t t = 0, i = 0; t < tiles; ++t) {
        const size_t rows = m / tiles + (t < m % tiles ? 1 : 0);
        with_count<tile_rows>(rows, [=](auto height) { body(i, height); });
        i += rows;
    }
}

// acc (rows, vectors) += A (rows, depth) · B (depth, vectors), depth ≥ 1. `across`: A is given transposed,
// (depth, rows). Else its rows are reached from a pointer for every three, by the addressing modes of x86: a pointer
// or an offset for each would not fit into the registers.
template <bool across, size_t rows, size_t vectors, class T>
FUSEDNET_INLINE void multiply_add(const T* a, size_t lda, const T* b, size_t ldb, size_t depth,
                                  Vec<T> (&acc)[rows][vectors]) {
    constexpr size_t groups = across ? 1 : (rows + 2) / 3;
    const T* base[groups];
#pragma GCC unroll 8
    for (size_t g = 0; g < groups; ++g) base[g] = a + 3 * g * lda;
    do {
        Vec<T> line[vectors];
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; ++v) line[v] = load(b + v * lanes<T>);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) {
            const Vec<T> x = broadcast(across ? base[0][i] : base[i / 3][i % 3 * lda]);
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; ++v) acc[i][v] = fma(x, line[v], acc[i][v]);
        }
#pragma GCC unroll 8
        for (size_t g = 0; g < groups; ++g) base[g] += across ? lda : 1;
        b += ldb;
    } while (--depth != 0);
}

// C (rows, vectors) = start + A · B, where start is one row for all (the bias) or C itself (a later depth block).
template <size_t rows, size_t vectors, class T>
__attribute__((noinline)) void product_tile(const T* a, size_t lda, const T* b, size_t ldb, size_t depth,
                                            const T* start, T* c, size_t ldc) {
    Vec<T> acc[rows][vectors];
    const T* from = start != nullptr ? start : c;
    const size_t step = start != nullptr ? 0 : ldc;
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i, from += step) {
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; ++v) acc[i][v] = load(from + v * lanes<T>);
    }
    multiply_add<false, rows, vectors, T>(a, lda, b, ldb, depth, acc);
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i, c += ldc) {
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; ++v) store(c + v * lanes<T>, acc[i][v]);
    }
}

// out (rows, columns) = gradient_factor · Aᵀ · B + weight_factor · W.
template <size_t rows, size_t vectors, class T>
__attribute__((noinline)) void update_tile(const WeightGradient<T>& g, size_t row, size_t column, size_t columns,
                                           bool far) {
    const size_t ldw = g.ldw;
    const T* w = g.w + row * ldw + column;
    T* out = g.out + row * ldw + column;
    for (size_t i = 0; i < rows && far; ++i) {  // on its way while the product is computed
        for (size_t v = 0; v < vectors; ++v) __builtin_prefetch(out + i * ldw + v * lanes<T>, 1);
    }
    Vec<T> acc[rows][vectors] = {};
    multiply_add<true, rows, vectors, T>(g.x + row, g.ldx, g.dz + column, g.lddz, g.m, acc);
    const T gradient_factor = g.gradient_factor, weight_factor = g.weight_factor;
#pragma GCC unroll 16  // else the sums may live in memory, and be stored in every step of the depth
    for (size_t i = 0; i < rows; ++i, w += ldw, out += ldw) {
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; ++v) {
            const size_t j = v * lanes<T>;
            Vec<T> r = acc[i][v] * gradient_factor;
            if (j + lanes<T> <= columns) {
                if (weight_factor != T(0)) r = fma(load(w + j), broadcast(weight_factor), r);
                store(out + j, r);
            } else {
                if (weight_factor != T(0)) r = fma(load_partial(w + j, columns - j), broadcast(weight_factor), r);
                store_partial(out + j, r, columns - j);
            }
        }
    }
}

// y[i] = start + x[i, :] · w for contiguous w: the products whose result is a single, contiguous column. (One column
// of a wider result goes through the tiles: its bits must not depend on where the result was split.)
template <size_t rows, class T>
FUSEDNET_INLINE void dot_tile(const T* x, size_t ldx, const T* w, size_t k, T start, T* y, size_t ldy) {
    Vec<T> acc[rows] = {};
    for_each_vector<T>(k, [&](size_t p, auto access) {
        const Vec<T> line = access.load(w + p);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; ++i) acc[i] = fma(access.load(x + i * ldx + p), line, acc[i]);
    });
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; ++i) y[i * ldy] = start + sum_lanes<T>(acc[i]);
}

template <class T>
void dot_rows(const T* x, size_t ldx, const T* w, size_t m, size_t k, T start, T* y, size_t ldy) {
    size_t i = 0;
    for (; i + 4 <= m; i += 4) dot_tile<4, T>(x + i * ldx, ldx, w, k, start, y + i * ldy, ldy);
    for (; i < m; ++i) dot_tile<1, T>(x + i * ldx, ldx, w, k, start, y + i * ldy, ldy);
}

// C (m, vectors) = start + A (m, depth) · B (depth, vectors), B in place or packed, in blocks of the depth.
template <size_t vectors, class T>
void product_panel(const T* a, size_t lda, const T* b, size_t ldb, size_t m, size_t depth, const T* start, T* c,
                   size_t ldc, Prefetch<T> next) {
    const size_t tiles = (m + tile_rows - 1) / tile_rows * ((depth + depth_block - 1) / depth_block);
    const size_t share = (next.lines() + tiles - 1) / tiles;
    for (size_t p = 0; p < depth; p += depth_block) {
        const size_t block = depth - p < depth_block ? depth - p : depth_block;
        for_each_row_tile(m, [=, &next](size_t i, auto height) {
            next.advance(share);
            product_tile<height.n, vectors, T>(a + i * lda + p, lda, b + p * ldb, ldb, block, p == 0 ? start : nullptr,
                                               c + i * ldc, ldc);
        });
    }
}

// One row: C (1, n) = start + A (1, depth) · B (depth, n) over whole vectors, in place where start is null.
// Returns the columns done; what remains is less than a vector.
template <size_t vectors, class T>
FUSEDNET_INLINE size_t product_row(const T* a, const T* b, size_t ldb, size_t depth, const T* start, T* c, size_t j,
                                   size_t n) {
    for (; j + vectors * lanes<T> <= n; j += vectors * lanes<T>) {
        product_tile<1, vectors, T>(a, 0, b + j, ldb, depth, start != nullptr ? start + j : nullptr, c + j, 0);
    }
    if constexpr (vectors > 1) {
        return product_row<vectors / 2, T>(a, b, ldb, depth, start, c, j, n);
    } else {
        return j;
    }
}

template <class T>
void dense_forward(const DenseForward<T>& f) {
    const auto finish = [&f](size_t column, size_t rows, size_t columns) {
        if (f.activation == Activation::identity || f.activation == Activation::softmax) return;
        T* derivative = f.derivative != nullptr && stores_derivative(f.activation) ? f.derivative + column : nullptr;
        activate_block(f.activation, f.y + column, f.y + column, derivative, f.ldy, rows, columns);
    };
    if (f.n == 1 && f.ldw == 1) {
        dot_rows(f.x, f.ldx, f.w, f.m, f.k, f.bias != nullptr ? f.bias[0] : T(0), f.y, f.ldy);
        return f.ldy == 1 ? finish(0, 1, f.m) : finish(0, f.m, 1);
    }
    size_t j = 0;
    if (f.m == 1 && f.n >= lanes<T>) {
        if (f.bias == nullptr) __builtin_memset(f.y, 0, f.n * sizeof(T));
        j = product_row<row_vectors, T>(f.x, f.w, f.ldw, f.k, f.bias, f.y, 0, f.n);
        finish(0, 1, j);
    }
    const bool far = is_far<T>(f.k, f.ldw);
    for (T start[panel_columns<T>]; j < f.n; j += panel_columns<T>) {
        const Panel<T> panel(f.n - j);
        for (size_t i = 0; i < panel.width; ++i)
            start[i] = f.bias != nullptr && i < panel.columns ? f.bias[j + i] : T(0);
        const size_t remaining = f.n - j - panel.columns;
        const size_t next_columns = !far ? 0 : remaining < panel_columns<T> ? remaining : panel_columns<T>;
        const T* b = f.w + j;
        size_t ldb = f.ldw;
        if (panel.width != panel.columns || (conflicting_stride<T>(f.ldw) && f.m > 2 * tile_rows)) {
            pack_columns(b, ldb, f.k, panel.columns, f.panel, panel.width);
            b = f.panel;
            ldb = panel.width;
        }
        with_count<tile_vectors>(panel.width / lanes<T>, [&](auto vectors) {
            product_panel<vectors.n, T>(f.x, f.ldx, b, ldb, f.m, f.k, start, f.y + j, f.ldy,
                                        {f.w + j + panel.columns, f.ldw, f.k, next_columns});
        });
        finish(j, f.m, panel.width);
    }
}

template <class T>
void input_gradient(const InputGradient<T>& g) {
    const auto finish = [&g](size_t column, size_t columns) {
        if (g.saved == nullptr) return;
        const T* mask = g.mask != nullptr ? g.mask + column : nullptr;
        differentiate_block(g.activation, g.saved + column, mask, g.lds, g.dx + column, g.lddx, g.m, columns);
    };
    if (g.k == 1 && g.lddx == 1) {  // W is one row: each row of dX is a dot product
        dot_rows(g.dz, g.lddz, g.w, g.m, g.n, T(0), g.dx, g.lddx);
        return finish(0, 1);
    }
    const T start[panel_columns<T>] = {};
    const bool far = is_far<T>(g.k, g.ldw);
    for (size_t j = 0; j < g.k; j += panel_columns<T>) {
        const Panel<T> panel(g.k - j);
        const size_t remaining = g.k - j - panel.columns;
        const size_t next_rows = !far ? 0 : remaining < panel_columns<T> ? remaining : panel_columns<T>;
        pack_transposed(g.w + j * g.ldw, g.ldw, g.n, panel.columns, g.panel, panel.width);
        with_count<tile_vectors>(panel.width / lanes<T>, [&](auto vectors) {
            product_panel<vectors.n, T>(g.dz, g.lddz, g.panel, panel.width, g.m, g.n, start, g.dx + j, g.lddx,
                                        {g.w + (j + panel.columns) * g.ldw, g.ldw, next_rows, g.n});
        });
        finish(j, panel.width);
    }
}

// One column of dZ: the gradient of a (k, 1) weight is the row dZᵀ · X, with contiguous results.
template <class T>
void column_weight_gradient(const WeightGradient<T>& g) {
    for_each_vector<T>(g.k, [&](size_t j, auto access) {
        Vec<T> acc{};
        for (size_t p = 0; p < g.m; ++p) acc = fma(access.load(g.x + p * g.ldx + j), broadcast(g.dz[p * g.lddz]), acc);
        Vec<T> r = acc * g.gradient_factor;
        if (g.weight_factor != T(0)) r = fma(access.load(g.w + j), broadcast(g.weight_factor), r);
        access.store(g.out + j, r);
    });
}

template <class T>
void weight_gradient(const WeightGradient<T>& g) {
    if (g.n == 1 && g.ldw == 1) return column_weight_gradient(g);
    const bool far = is_far<T>(g.k, g.ldw);
    for_each_row_tile(g.k, [&](size_t i, auto height) {
        size_t j = 0;
        for (; j + panel_columns<T> <= g.n; j += panel_columns<T>) {
            update_tile<height.n, tile_vectors, T>(g, i, j, panel_columns<T>, far);
        }
        if (j < g.n) {
            with_count<tile_vectors>((g.n - j + lanes<T> - 1) / lanes<T>,
                                     [&](auto vectors) { update_tile<height.n, vectors.n, T>(g, i, j, g.n - j, far); });
        }
    });
}

template <class T>
void bias_gradient(const BiasGradient<T>& g) {
    if (g.n == 1 && g.lddz == 1) {
        Vec<T> acc{};
        for_each_vector<T>(g.m, [&](size_t i, auto access) { acc += access.load(g.dz + i); });
        const T r = sum_lanes<T>(acc) * g.gradient_factor;
        g.out[0] = g.bias_factor != T(0) ? r + g.b[0] * g.bias_factor : r;
        return;
    }
    constexpr size_t wide = 4 * lanes<T>;  // columns summed in one pass over the rows
    const auto finish = [&g](size_t j, Vec<T> sum, auto access) {
        Vec<T> r = sum * g.gradient_factor;
        if (g.bias_factor != T(0)) r = fma(access.load(g.b + j), broadcast(g.bias_factor), r);
        access.store(g.out + j, r);
    };
    size_t j = 0;
    for (; j + wide <= g.n; j += wide) {
        Vec<T> sum[4] = {};
        for (size_t i = 0; i < g.m; ++i) {
            for (size_t v = 0; v < 4; ++v) sum[v] += load(g.dz + i * g.lddz + j + v * lanes<T>);
        }
        for (size_t v = 0; v < 4; ++v) finish(j + v * lanes<T>, sum[v], WholeAccess<T>{});
    }
    for_each_vector<T>(g.n - j, [&](size_t offset, auto access) {
        Vec<T> sum{};
        for (size_t i = 0; i < g.m; ++i) sum += access.load(g.dz + i * g.lddz + j + offset);
        finish(j + offset, sum, access);
    });
}

}  // namespace fusednet::FUSEDNET_SET
