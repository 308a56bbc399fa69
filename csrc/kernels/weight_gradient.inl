// The gradient of a dense layer's parameters, dW = Xᵀ·dZ and the sums of dZ, cut into register tiles; and what becomes
// of it: stored, added to W, or the optimizer's step.
#pragma once

#include "matmul.inl"
#include "updates.inl"

namespace fusednet::FUSEDNET_SET {

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
    const V factor = broadcast(g.factor);
    if (g.decay == 0) return g.update ? fma(sum, factor, old()) : sum * factor;
    const V w = old(), total = fma(w, broadcast(g.decay), sum);
    return g.update ? fma(total, factor, w) : total * factor;
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

// Up to so many rows of X give a tile less to do than it takes to begin and to end it.
constexpr size_t shallow_depth = FUSEDNET_VECTOR_BYTES == 64 ? 8 : 6;

// By so few rows, m: four rows of W at a time, as they lie in memory. The last vector of a row overlaps the one before
// it, as a mask would hold up the next row: what it adds to is read first.
template <size_t m, class T>
__attribute__((noinline)) void update_shallow(const WeightGradient<T>& g) {
    finish_weights(g, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
        const size_t k = g.k, ldx = g.ldx, ldw = g.ldw, lddz = g.lddz, last = g.n - lanes<T>;
        const bool overlapping = g.n % lanes<T> != 0;
        const T* const dz = g.dz;
        size_t i = 0;
        const auto update = [&](auto rows) FUSEDNET_ALWAYS_INLINE {
            for (; i + rows.n <= k; i += rows.n) {
                read_ahead(g.ahead);
                const T* const w = g.w + i * ldw;
                T* const out = g.out + i * ldw;
                Vec<T> x[m][rows.n], end[rows.n];
                for (size_t r = 0; r < rows.n; ++r) {
                    for (size_t p = 0; p < m; ++p) x[p][r] = broadcast(g.x[p * ldx + i + r]);
                    end[r] = load(w + r * ldw + last);
                }
                const auto finish = [&](size_t j, auto weight) FUSEDNET_ALWAYS_INLINE {
                    Vec<T> sum[rows.n] = {};
                    for (size_t p = 0; p < m; ++p) {
                        const Vec<T> line = load(dz + p * lddz + j);
                        for (size_t r = 0; r < rows.n; ++r) sum[r] = fma(x[p][r], line, sum[r]);
                    }
                    for (size_t r = 0; r < rows.n; ++r)
                        store(out + r * ldw + j, with_weight(sum[r], [&] { return weight(r); }));
                };
                for (size_t j = 0; j <= last; j += lanes<T>)
                    finish(j, [&](size_t r) FUSEDNET_ALWAYS_INLINE { return load(w + r * ldw + j); });
                if (overlapping) finish(last, [&](size_t r) FUSEDNET_ALWAYS_INLINE { return end[r]; });
            }
        };
        update(Count<4>{});
        update(Count<1>{});
    });
}

// A tile's columns of X, side by side: so many elements.
template <class T>
constexpr size_t x_tile_width = whole_vectors<T>(tile_rows);

template <class T>
size_t weight_scratch(size_t m, size_t ldw) {
    return at_most(m, most_block_rows) * (x_tile_width<T> + whole_vectors<T>(ldw)) + tile_rows * ldw;
}

// Whether X and dZ are to be copied for the tiles: if they are large, or come from distant cores, for whose lines tiles
// wait one after the other, and a copy a dozen at a time. A tile of AVX-512 computes several times as much as others
// with each line that it reads: those do better by lines side by side long before the second-level cache is full.
template <class T>
bool copies(const WeightGradient<T>& g) {
    return g.distant ||
           g.m * (g.ldx + g.lddz) * sizeof(T) > (FUSEDNET_VECTOR_BYTES == 64 ? size_t{3} << 19 : size_t{1} << 18);
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

// Whether this core may still have W as it read it, and others too, when its rows are to be updated.
template <class T>
bool is_read_by_others(const WeightGradient<T>& g) {
    return g.shared && g.all_rows * g.ldw * sizeof(T) < size_t{1} << 20;
}

// Makes this core the only one to have the lines of such rows, before an update that writes other lines, too: stores
// leave a core in turn, and one to a line that others have as well holds up those behind it. (To fetch a line for
// writing, as fetch_rows does, is enough on a Granite Rapids, but not on a Zen 4 that has read it before.)
template <class T>
[[gnu::noinline]] void claim_rows(T* rows, size_t ld, size_t count, size_t columns) {
    if (columns == ld) {  // one long row: several may share a line
        columns *= count;
        count = 1;
    }
    for (size_t i = 0; i < count; ++i, rows += ld) {
        for (size_t j = 0; j < columns; j += cache_line / sizeof(T)) {
            volatile T* const element = rows + j;
            *element = *element;
        }
    }
}

// More than so many tiles take it by rows, see update_rows. (Fewer heights to compile.)
constexpr size_t stepping_tiles = 6;

// Tiles of W by rows. `packing`: a tile's columns of X are copied to scratch, and the first tiles leave the panels of
// dZ there. `fetching`: what is written next is fetched meanwhile. Both are for more than one tile. `stepping`, which
// goes with `fetching`: the gradient of a tile's rows goes to scratch, and before the next they take the step by it.
template <bool packing, bool fetching, bool stepping, class T>
void update_rows(const WeightGradient<T>& g, const OptimizerStep<T>* step = nullptr) {
    constexpr size_t least = stepping ? least_height(stepping_tiles) : packing || fetching ? least_height(1) : 1;
    const bool claimed = stepping && is_read_by_others(g);
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
            using Lines = Prefetch<T, stepping ? 3 : 1, true>;
            Lines lines;
            if constexpr (stepping) {
                const OptimizerStep<T> s = step->from(i * g.ldw + j);
                const T *first = s.first != nullptr ? s.first : s.w, *second = s.second != nullptr ? s.second : s.w;
                lines = {{s.w, first, second}, g.ldw, height.n, panel.columns, 1, g.m};
            } else if constexpr (fetching) {
                lines = {{g.out + i * g.ldw + next}, g.ldw, next < g.n ? height.n : 0, panel_columns<T>, 1, g.m};
            }
            Lines* ahead = fetching ? &lines : nullptr;
            read_ahead(g.ahead);
            const size_t offset = stepping ? j : i * g.ldw + j;
            with_columns<T>(panel.width, [&](auto columns) {
                if (packing && i > 0) {
                    update_tile<false, fetching, height.n, decltype(columns), T>(tile, offset, panel.columns, x, ldx,
                                                                                 packed, panel.width, nullptr, ahead);
                } else {
                    update_tile<packing, fetching, height.n, decltype(columns), T>(tile, offset, panel.columns, x, ldx,
                                                                                   g.dz + j, g.lddz, packed, ahead);
                }
            });
            if constexpr (stepping) {  // they have been fetched, and leave while the next tile computes
                if (claimed) claim_rows(step->w + i * g.ldw + j, g.ldw, height.n, panel.columns);
            }
            j = next;
        }
        if constexpr (stepping) take_step(g, *step, i, height.n, strip.out);
    });
}

// The last columns where they are narrow: update_rows leaves those out.
template <class T>
void update_narrow(const WeightGradient<T>& g) {
    const size_t columns = last_panel<T>(g.n);
    if (columns == 0 || !is_narrow(g, columns)) return;
    const size_t j = g.n - columns;
    with_count<1, narrow_pieces>(whole_pieces<T>(columns) / piece<T>, [&](auto pieces) {
        constexpr size_t most = narrow_vectors<pieces.n, T>;
        for (size_t i = 0; i < g.k; i += most * lanes<T>) {
            const size_t rows = at_most(g.k - i, most * lanes<T>);
            with_count<1, most>((rows + lanes<T> - 1) / lanes<T>, [&](auto vectors) {
                update_narrow_tile<vectors.n, pieces.n>(g, i * g.ldw + j, rows, columns, g.x + i, g.dz + j);
            });
        }
    });
}

// Of rows that are a block.
template <class T>
void block_weight_gradient(const WeightGradient<T>& g) {
    if (g.n == 1 && g.ldw == 1) return column_weight_gradient(g);
    if (g.m <= shallow_depth && g.n >= lanes<T>)
        return with_count<1, shallow_depth>(g.m, [&](auto rows) { update_shallow<rows.n>(g); });
    const bool several = g.k > tile_rows, far = several && is_far<T>(g.all_rows, g.ldw), packing = several && copies(g);
    if (!is_narrow(g, g.n)) {
        if (far) {
            packing ? update_rows<true, true, false>(g) : update_rows<false, true, false>(g);
        } else {
            packing ? update_rows<true, false, false>(g) : update_rows<false, false, false>(g);
        }
    }
    update_narrow(g);
}

// To the rows after a block: what they give is added.
template <class T>
void move_on(WeightGradient<T>& g) {
    g.x += g.m * g.ldx;
    g.w = g.out;
}
template <class T>
void move_on(BiasGradient<T>& g) {
    g.b = g.out;
}

// compute(block) for each block of the gradient's rows, in order.
template <class Gradient, class Compute>
FUSEDNET_INLINE void for_each_block(const Gradient& g, const Compute& compute) {
    const size_t blocks = block_count(g.m);
    if (blocks == 1) return compute(g);
    Gradient block = g;
    for (size_t b = 0; b < blocks; ++b) {
        block.m = block_begin(g.m, blocks, b + 1) - block_begin(g.m, blocks, b);
        compute(block);
        move_on(block);
        block.dz += block.m * block.lddz;
        block.decay = 0;
        block.update = true;
    }
}

template <class T>
void weight_gradient(const WeightGradient<T>& g) {
    for_each_block(g, block_weight_gradient<T>);
}

// By rows where W is far, or has to be claimed and has tiles as wide as they come, which leave the time for it; the
// depth a single block, so that their gradient is whole, and not so short that fetching what they need would interrupt
// it every few steps.
template <class T>
void weight_step(const WeightGradient<T>& g, const OptimizerStep<T>& step) {
    constexpr size_t least_depth = 32;
    const bool whole = g.m >= least_depth && g.m <= most_block_rows, claimed = is_read_by_others(g);
    const bool by_rows = is_far<T>(g.all_rows, g.ldw) || (claimed && g.n >= panel_columns<T>);
    if (whole && g.k > stepping_tiles * tile_rows && by_rows) {
        return copies(g) ? update_rows<true, true, true>(g, &step) : update_rows<false, true, true>(g, &step);
    }
    weight_gradient(g);
    if (claimed) claim_rows(step.w, g.ldw, g.k, g.n);
    take_step(g, step, 0, g.k, g.out);
}

template <class T>
void block_bias_gradient(const BiasGradient<T>& g) {
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

template <class T>
void bias_gradient(const BiasGradient<T>& g) {
    for_each_block(g, block_bias_gradient<T>);
}

}  // namespace fusednet::FUSEDNET_SET
