// The three matrix products of a dense layer: Y = X·W, dX = dZ·Wᵀ and dW = Xᵀ·dZ, cut into register tiles.
#pragma once

#include "activations.inl"
#include "register_tile.inl"
#include "updates.inl"

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

// body(TileColumns) for the width of a panel.
template <class T, class Body>
FUSEDNET_INLINE void with_columns(size_t width, const Body& body) {
    if constexpr (halves) {
        if (width < lanes<T>) return body(TileColumns<Half<T>, 1>{});
    }
    with_count<1, tile_vectors>(width / lanes<T>, [&](auto vectors) { body(TileColumns<Vec<T>, vectors.n>{}); });
}

// The least height of a tile that for_each_row_tile cuts from more than `tiles` * tile_rows rows. Whoever has so many
// needs no code for tiles that are lower: all heights together are most of what there is to compile.
constexpr size_t least_height(size_t tiles) { return (tiles * tile_rows + 1) / (tiles + 1); }

// Cuts m rows into ⌈m / tile_rows⌉ tiles of nearly equal height: 16 rows are 8 + 8, not 12 + 4.
template <size_t least, class Body>
FUSEDNET_INLINE void for_each_row_tile(size_t m, const Body& body) {
    const size_t tiles = (m + tile_rows - 1) / tile_rows;
    for (size_t t = 0, i = 0; t < tiles; ++t) {
        const size_t rows = m / tiles + (t < m % tiles ? 1 : 0);
        with_count<least, tile_rows>(rows, [&](auto height) { body(i, height); });
        i += rows;
    }
}

// So many tiles must read a copy of B for it to pay.
constexpr size_t packing_tiles = 8;

// C (m, columns) = start + A (m, depth) · B (depth, columns), in blocks of the depth, see block_rows. Without a panel,
// B is used where it lies. Else, of more than packing_tiles tiles, the first leaves a copy of each block there for the
// others, or, where b is null, fill(first, block) puts the block there.
template <size_t usual, bool far, class Columns, class T, class Fill, class Next>
void product_panel(const T* a, size_t lda, const T* b, size_t ldb, size_t m, size_t depth, const T* start, T* c,
                   size_t ldc, T final_floor, const T* final_gate, T* panel, Fill fill, Next next,
                   ReadAhead* rows_ahead) {
    const size_t rows = block_rows(depth, usual);
    for (size_t p = 0; p < depth; p += rows) {
        const size_t block = at_most(depth - p, rows);
        Prefetch<T> lines;
        if constexpr (far) lines = next(p, block, (m + tile_rows - 1) / tile_rows * block);
        Prefetch<T>* ahead = &lines;
        if (b == nullptr) fill(p, block);
        for_each_row_tile<1>(m, [=](size_t i, auto height) {
            const T* first = p == 0 ? start : nullptr;
            const bool last = p + block == depth;
            const T floor = last ? final_floor : no_floor<T>;
            const T* gate = last && final_gate != nullptr ? final_gate + i * ldc : nullptr;
            read_ahead(rows_ahead);
            if constexpr (height.n >= least_height(packing_tiles)) {
                if (i == 0 && b != nullptr && panel != nullptr) {
                    return product_tile<true, far, height.n, Columns, T>(a + p, lda, b + p * ldb, ldb, block, first, c,
                                                                         ldc, floor, gate, panel, ahead);
                }
            }
            const bool packed = panel != nullptr;
            product_tile<false, far, height.n, Columns, T>(a + i * lda + p, lda, packed ? panel : b + p * ldb,
                                                           packed ? Columns::width : ldb, block, first, c + i * ldc,
                                                           ldc, floor, gate, nullptr, ahead);
        });
    }
}

// The last columns of dense_forward, a piece or fewer.
template <class T>
void product_narrow(const DenseForward<T>& f, size_t columns, const T* start, T final_floor) {
    const size_t j = f.n - columns;
    const size_t rows = block_rows(f.k, depth_block);
    for (size_t p = 0; p < f.k; p += rows) {
        const size_t block = at_most(f.k - p, rows);
        const T floor = p + block == f.k ? final_floor : no_floor<T>;
        pack_pairs(f.w + p * f.ldw + j, f.ldw, block, columns, f.panel);
        for_each_row_tile<1>(f.m, [&](size_t i, auto height) {
            read_ahead(f.ahead);
            product_narrow_tile<height.n>(f.x + i * f.ldx + p, f.ldx, f.panel, block, p == 0 ? start : nullptr,
                                          f.y + i * f.ldy + j, f.ldy, floor);
        });
    }
}

// One row: C (1, n) = start + A (1, depth) · B (depth, n) over whole vectors, in place where start is null.
// Returns the columns done; what remains is less than a vector.
template <size_t vectors, class T>
FUSEDNET_INLINE size_t product_row(const T* a, const T* b, size_t ldb, size_t depth, const T* start, T* c, size_t j,
                                   size_t n, T floor) {
    for (; j + vectors * lanes<T> <= n; j += vectors * lanes<T>) {
        product_tile<false, false, 1, TileColumns<Vec<T>, vectors>, T>(a, 0, b + j, ldb, depth,
                                                                       start != nullptr ? start + j : nullptr, c + j, 0,
                                                                       floor, nullptr, nullptr, nullptr);
    }
    if constexpr (vectors > 1) {
        return product_row<vectors / 2, T>(a, b, ldb, depth, start, c, j, n, floor);
    } else {
        return j;
    }
}

// body(TileColumns, far) with both as constants.
template <class T, class Body>
FUSEDNET_INLINE void with_panel(const Panel<T>& panel, bool far, const Body& body) {
    with_columns<T>(panel.width, [&](auto columns) {
        if (far) {
            body(columns, Count<1>{});
        } else {
            body(columns, Count<0>{});
        }
    });
}

template <class T>
void activate_columns(const DenseForward<T>& f, size_t column, size_t rows, size_t columns) {
    if (f.activation == Activation::identity || f.activation == Activation::softmax) return;
    T* derivative = f.derivative != nullptr && stores_derivative(f.activation) ? f.derivative + column : nullptr;
    activate_block(f.activation, f.y + column, f.y + column, derivative, f.ldy, rows, columns);
}

template <class T>
void dense_forward(const DenseForward<T>& f) {
    if (f.n == 1 && f.ldw == 1) {
        dot_rows(f.x, f.ldx, f.w, f.m, f.k, f.bias != nullptr ? f.bias[0] : T(0), f.y, f.ldy);
        return f.ldy == 1 ? activate_columns(f, 0, 1, f.m) : activate_columns(f, 0, f.m, 1);
    }
    const bool relu = f.activation == Activation::relu;
    const T floor = relu ? T(0) : no_floor<T>;
    const auto finish = [&f, relu](size_t column, size_t rows, size_t columns) {
        if (!relu) activate_columns(f, column, rows, columns);
    };
    size_t j = 0;
    if (f.m == 1 && f.n >= lanes<T>) {
        if (f.bias == nullptr) __builtin_memset(f.y, 0, f.n * sizeof(T));
        j = product_row<row_vectors, T>(f.x, f.w, f.ldw, f.k, f.bias, f.y, 0, f.n, floor);
        finish(0, 1, j);
    }
    const bool far = is_far<T>(f.k, f.ldw);
    const bool packing = f.m > packing_tiles * tile_rows && f.k * f.ldw * sizeof(T) > first_level_cache;
    const size_t rows = block_rows(f.k, depth_block);
    T start[panel_columns<T>];
    while (j < f.n) {
        const Panel<T> panel(f.n - j);
        for (size_t i = 0; i < panel.width; ++i)
            start[i] = f.bias != nullptr && i < panel.columns ? f.bias[j + i] : T(0);
        const T* w = f.w + j;
        const bool whole = panel.width == panel.columns;
        const auto fill = [&](size_t p, size_t block) {
            pack_columns(w + p * f.ldw, f.ldw, block, panel.columns, f.panel, panel.width);
        };
        // A block of the depth at a time: of rows that are powers of two apart, the second-level cache holds few.
        const auto ahead = [&](size_t p, size_t block, size_t steps) {
            const size_t q = p + block;
            if (q < f.k) return Prefetch<T>({w + q * f.ldw}, f.ldw, at_most(f.k - q, rows), panel.columns, steps);
            const Panel<T> next(f.n - j - panel.columns);
            return Prefetch<T>({w + panel.columns}, f.ldw, at_most(f.k, rows), next.columns, steps);
        };
        if constexpr (halves) {  // a piece would fill half of a half
            if (panel.columns <= piece<T>) {
                product_narrow(f, panel.columns, start, floor);
                return finish(j, f.m, panel.width);
            }
        }
        with_panel<T>(panel, far, [&](auto columns, auto from_far) {
            product_panel<depth_block, from_far.n, decltype(columns), T>(
                f.x, f.ldx, whole ? w : nullptr, f.ldw, f.m, f.k, start, f.y + j, f.ldy, floor, nullptr,
                !whole || packing ? f.panel : nullptr, fill, ahead, f.ahead);
        });
        finish(j, f.m, panel.width);
        j += panel.columns;
    }
}

template <class T>
void input_gradient(const InputGradient<T>& g) {
    const auto finish = [&g](size_t column, size_t columns) {
        if (g.saved == nullptr) return;
        T* dx = g.dx + column;
        const T* mask = g.mask != nullptr ? g.mask + column : nullptr;
        differentiate_block(g.activation, g.saved + column, mask, g.lds, dx, g.lddx, g.m, columns,
                            [=](size_t i, size_t j, auto access) { return access.load(dx + i * g.lddx + j); });
    };
    if (g.k == 1 && g.lddx == 1) {  // W is one row: each row of dX is a dot product
        dot_rows(g.dz, g.lddz, g.w, g.m, g.n, T(0), g.dx, g.lddx);
        return finish(0, 1);
    }
    if (g.n == 1 && g.ldw == 1 && g.saved != nullptr) {  // W is one column: nothing to add up
        return differentiate_block(
            g.activation, g.saved, g.mask, g.lds, g.dx, g.lddx, g.m, g.k,
            [=](size_t i, size_t j, auto access) { return broadcast(g.dz[i * g.lddz]) * access.load(g.w + j); });
    }
    const T start[panel_columns<T>] = {};
    const bool far = is_far<T>(g.k, g.ldw);
    const bool gated = g.saved != nullptr && g.activation == Activation::relu && g.mask == nullptr && g.lds == g.lddx;
    for (size_t j = 0; j < g.k;) {
        const Panel<T> panel(g.k - j);
        const Panel<T> next(g.k - j - panel.columns);
        const auto ahead = [&](size_t p, size_t block, size_t steps) {
            return Prefetch<T>({g.w + (j + panel.columns) * g.ldw + p}, g.ldw, next.columns, block, steps);
        };
        const auto fill = [&](size_t p, size_t block) {
            pack_transposed(g.w + j * g.ldw + p, g.ldw, block, panel.columns, g.panel, panel.width);
        };
        with_panel<T>(panel, far, [&](auto columns, auto from_far) {
            product_panel<transposed_block<T>, from_far.n, decltype(columns), T>(
                g.dz, g.lddz, nullptr, 0, g.m, g.n, start, g.dx + j, g.lddx, no_floor<T>, gated ? g.saved + j : nullptr,
                g.panel, fill, ahead, g.ahead);
        });
        if (!gated) finish(j, panel.width);
        j += panel.columns;
    }
}

// finish(j, sum) for sums over m rows by columns j to n, of whole vectors and the rest: sum = add(sum, row, j). So many
// vectors at a time, then half as many, hide the latency of an addition.
template <size_t vectors, class T, class Add, class Finish>
FUSEDNET_INLINE void sum_columns(size_t m, size_t j, size_t n, const Add& add, const Finish& finish) {
    const auto sum_group = [&](auto access) {
        Vec<T> sum[vectors] = {};
        for (size_t i = 0; i < m; ++i) {
            for (size_t v = 0; v < vectors; ++v) sum[v] = add(sum[v], i, j + v * lanes<T>, access);
        }
        for (size_t v = 0; v < vectors; ++v) finish(j + v * lanes<T>, sum[v], access);
    };
    for (; j + vectors * lanes<T> <= n; j += vectors * lanes<T>) sum_group(WholeAccess<T>{});
    if constexpr (vectors > 1) {
        sum_columns<vectors / 2, T>(m, j, n, add, finish);
    } else if (j < n) {
        sum_group(PartialAccess<T>{n - j});
    }
}

// What WeightGradient and BiasGradient say of a sum and the old parameter.
template <class Gradient, class V, class Old>
FUSEDNET_INLINE V parameter_or_gradient(const Gradient& g, V sum, const Old& old) {
    if (!g.update && g.decay == 0) return sum * g.factor;
    const V w = old(), total = fma(w, broadcast(g.decay), sum);
    return g.update ? fma(total, broadcast(g.factor), w) : total * g.factor;
}

// One column of dZ: the gradient of a (k, 1) weight is the row dZᵀ · X, with contiguous results.
template <class T>
void column_weight_gradient(const WeightGradient<T>& g) {
    const auto add = [&g](Vec<T> sum, size_t i, size_t j, auto access) {
        return fma(access.load(g.x + i * g.ldx + j), broadcast(g.dz[i * g.lddz]), sum);
    };
    sum_columns<4, T>(g.m, 0, g.k, add, [&g](size_t j, Vec<T> sum, auto access) {
        access.store(g.out + j, parameter_or_gradient(g, sum, [&] { return access.load(g.w + j); }));
    });
}

template <class T>
constexpr size_t whole_vectors(size_t n) {
    return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// A tile's columns of X, side by side: so many elements.
template <class T>
constexpr size_t x_tile_width = whole_vectors<T>(tile_rows);

template <class T>
size_t weight_scratch(size_t m, size_t n) {
    return at_most(m, longest_block(depth_block)) * (x_tile_width<T> + whole_vectors<T>(n)) + tile_rows * n;
}

// Whether X and dZ are large enough to be copied for the tiles. A tile of AVX-512 computes several times as much as
// others with each line that it reads: those do better by lines side by side long before the second-level cache is
// full.
template <class T>
bool copies(const WeightGradient<T>& g) {
    return g.m * (g.ldx + g.lddz) * sizeof(T) > (FUSEDNET_VECTOR_BYTES == 64 ? size_t{3} << 19 : size_t{1} << 18);
}

// The step of some rows of W by their gradient.
template <class T>
void take_step(const WeightGradient<T>& g, const OptimizerStep<T>& step, size_t row, size_t rows, const T* gradient) {
    const auto update_from = [&](size_t i, size_t count) {
        const OptimizerStep<T> s = step.from((row + i) * g.ldw);
        update(*s.arguments, s.w, gradient + i * g.ldw, s.first, s.second, count);
    };
    if (g.n == g.ldw) return update_from(0, rows * g.n);
    for (size_t i = 0; i < rows; ++i) update_from(i, g.n);
}

// More than so many tiles take it by rows, see update_rows. (Fewer heights to compile.)
constexpr size_t stepping_tiles = 6;

// Tiles of W by rows. Where X and dZ are large, a tile's columns of X are copied to scratch, and the first tiles leave
// the panels of dZ there. Both `packing` and `far` are for more than one tile. `stepping`, which goes with `far`: the
// gradient of a tile's rows goes to scratch, and before the next they take the step by it; what else that reads is
// fetched meanwhile.
template <bool packing, bool far, bool stepping, class T>
void update_rows(const WeightGradient<T>& g, const OptimizerStep<T>* step = nullptr) {
    constexpr size_t least = stepping ? least_height(stepping_tiles) : packing || far ? least_height(1) : 1;
    T* x_tile = g.scratch;
    T* panels = g.scratch + g.m * x_tile_width<T>;
    for_each_row_tile<least>(g.k, [&](size_t i, auto height) {
        const T* x = g.x + i;
        size_t ldx = g.ldx;
        if constexpr (packing) {
            pack_columns(x, ldx, g.m, height.n, x_tile, x_tile_width<T>);
            x = x_tile;
            ldx = x_tile_width<T>;
        }
        WeightGradient<T> strip;
        if constexpr (stepping) {
            strip = g;
            strip.w += i * g.ldw;
            strip.out = panels + g.m * whole_vectors<T>(g.n);
        }
        const WeightGradient<T>& tile = stepping ? strip : g;
        for (size_t j = 0; j < g.n;) {
            const Panel<T> panel(g.n - j);
            if (!stepping && is_narrow(g, panel.columns)) return;
            T* packed = panels + j * g.m;
            const size_t next = j + panel.columns;
            Prefetch<T, stepping ? 3 : 1> lines;
            if constexpr (stepping) {
                const OptimizerStep<T> s = step->from(i * g.ldw + j);
                const T *first = s.first != nullptr ? s.first : s.w, *second = s.second != nullptr ? s.second : s.w;
                lines = {{s.w, first, second}, g.ldw, height.n, panel.columns, g.m};
            } else if constexpr (far) {
                lines = {{g.out + i * g.ldw + next}, g.ldw, next < g.n ? height.n : 0, panel_columns<T>, g.m};
            }
            Prefetch<T, stepping ? 3 : 1>* ahead = far ? &lines : nullptr;
            read_ahead(g.ahead);
            const size_t offset = stepping ? j : i * g.ldw + j;
            with_columns<T>(panel.width, [&](auto columns) {
                if (packing && i > 0) {
                    update_tile<false, far, height.n, decltype(columns), T>(tile, offset, panel.columns, x, ldx, packed,
                                                                            panel.width, nullptr, ahead);
                } else {
                    update_tile<packing, far, height.n, decltype(columns), T>(tile, offset, panel.columns, x, ldx,
                                                                              g.dz + j, g.lddz, packed, ahead);
                }
            });
            j = next;
        }
        if constexpr (stepping) take_step(g, *step, i, height.n, strip.out);
    });
}

// The last columns where they are narrow: update_rows leaves those out.
template <class T>
void update_narrow(const WeightGradient<T>& g) {
    const size_t columns = g.n % lanes<T>, j = g.n - columns;
    if (columns == 0 || !is_narrow(g, columns)) return;
    for (size_t i = 0; i < g.k; i += 2 * lanes<T>) {
        const size_t rows = at_most(g.k - i, 2 * lanes<T>);
        with_count<1, 2>((rows + lanes<T> - 1) / lanes<T>, [&](auto vectors) {
            update_narrow_tile<vectors.n>(g, i * g.ldw + j, rows, columns, g.x + i, g.dz + j);
        });
    }
}

template <class T>
void weight_gradient(const WeightGradient<T>& g) {
    if (g.n == 1 && g.ldw == 1) return column_weight_gradient(g);
    const bool several = g.k > tile_rows, far = several && is_far<T>(g.k, g.ldw);
    WeightGradient<T> block = g;
    const size_t rows = block_rows(g.m, depth_block);
    for (size_t p = 0; p < g.m; p += rows) {
        block.m = at_most(g.m - p, rows);
        const bool packing = several && copies(block);
        if (!is_narrow(block, g.n)) {
            if (far) {
                packing ? update_rows<true, true, false>(block) : update_rows<false, true, false>(block);
            } else {
                packing ? update_rows<true, false, false>(block) : update_rows<false, false, false>(block);
            }
        }
        update_narrow(block);
        block.x += rows * g.ldx;
        block.dz += rows * g.lddz;
        block.w = g.out;
        block.decay = T(0);
        block.update = true;
    }
}

// By rows where W is far and the depth a single block, so that their gradient is whole.
template <class T>
void weight_step(const WeightGradient<T>& g, const OptimizerStep<T>& step) {
    if (g.k > stepping_tiles * tile_rows && g.m <= longest_block(depth_block) && is_far<T>(g.k, g.ldw)) {
        return copies(g) ? update_rows<true, true, true>(g, &step) : update_rows<false, true, true>(g, &step);
    }
    weight_gradient(g);
    take_step(g, step, 0, g.k, g.out);
}

template <class T>
void bias_gradient(const BiasGradient<T>& g) {
    if (g.n == 1 && g.lddz == 1) {
        Vec<T> acc{};
        for_each_vector<T>(g.m, [&](size_t i, auto access) { acc += access.load(g.dz + i); });
        const Vec<T> sum = broadcast(sum_lanes<T>(acc));
        g.out[0] = parameter_or_gradient(g, sum, [&] { return broadcast(g.b[0]); })[0];
        return;
    }
    const auto add = [&g](Vec<T> sum, size_t i, size_t j, auto access) {
        return sum + access.load(g.dz + i * g.lddz + j);
    };
    sum_columns<4, T>(g.m, 0, g.n, add, [&g](size_t j, Vec<T> sum, auto access) {
        access.store(g.out + j, parameter_or_gradient(g, sum, [&] { return access.load(g.b + j); }));
    });
}

}  // namespace fusednet::FUSEDNET_SET
