// The gradient of a dense layer's weights, dW = Xᵀ·dZ, cut into register tiles: stored, or added to W.
#pragma once

#include "bias_gradient.inl"
#include "matmul.inl"

namespace fusednet::FUSEDNET_SET {

// Whether this core may still have W as it read it, and others too, when its rows are to be updated.
template <class T>
bool is_read_by_others(const WeightGradient<T>& g) {
    return g.shared && g.all_rows * g.ldw * sizeof(T) < size_t{1} << 20;
}

// One column of dZ: the gradient of a (k, 1) weight is the row dZᵀ · X, with contiguous results.
template <class T>
void column_weight_gradient(const WeightGradient<T>& g) {
    const auto add = [&g](Vec<T> sum, size_t i, size_t j, auto access) {
        return fma(access.load(g.x + i * g.ldx + j), broadcast(g.dz[i * g.lddz]), sum);
    };
    const auto finish = [&g](size_t j, Vec<T> sum, auto access) {
        access.store(g.out + j, parameter_or_gradient(g, sum, [&] { return access.load(g.w + j); }));
    };
    // (All of W's rows, whichever these are of them: the bits must not depend on where W was split.)
    if (g.all_rows > lanes<T>) return sum_columns<4, T>(g.m, 0, g.k, add, finish);
    sum_short_rows<T>(g.m, g.k, add, finish);
}

// Up to so many rows of X give a tile less to do than it takes to begin and to end it.
constexpr size_t shallow_depth = FUSEDNET_VECTOR_BYTES == 64 ? 8 : 6;
static_assert(shallow_depth >= last_steps);

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

// The bytes of X and dZ.
template <class T>
size_t factor_bytes(const WeightGradient<T>& g) {
    return g.m * (g.ldx + g.lddz) * sizeof(T);
}

// Whether X and dZ are to be copied for the tiles, which wait for one line after the other, and a copy for a dozen at a
// time: if they are large (a tile of AVX-512 computes several times as much as others with each line that it reads:
// those do better by lines side by side long before the second-level cache is full); or, where what is far is slow to
// come, if other cores have written them, or X's rows are far apart and there are tiles enough for each copy.
template <class T>
bool copies(const WeightGradient<T>& g) {
    constexpr bool wide = FUSEDNET_VECTOR_BYTES == 64;
    constexpr size_t most = wide ? size_t{3} << 19 : size_t{1} << 18, far_apart = 2048;  // bytes
    const bool pays = wide && g.ldx * sizeof(T) >= far_apart && g.n > 4 * panel_columns<T>;
    return factor_bytes(g) > most || (g.distant && (g.shared || pays));
}

// The tiles' results as they are. `fetching`: rows to be read, if they are many, or else what the next tile writes.
// Where X and dZ are large, too, and no other thread reads them, the last tile of each row fetches the next one's
// columns of X, and those of the first row fetch dZ in place of W. (As if to be written: a choice would cost the short
// tiles more.)
template <class T, bool fetching>
class StoredRows {
public:
    using Ahead = Prefetch<T, 1, true>;
    static constexpr bool leaves_narrow = true;
    static constexpr bool interrupts(bool, size_t) { return fetching; }
    static constexpr size_t least_tiles(bool packing) { return packing || fetching ? 1 : 0; }

    explicit StoredRows(const WeightGradient<T>& g)
        : g_(g), fetching_factors_(!g.shared && factor_bytes(g) > size_t{1} << 18) {}

    void begin_rows(size_t i, size_t rows) {
        offset_ = i * g_.ldw;
        end_ = i + rows;
    }
    const WeightGradient<T>& results() const { return g_; }
    size_t offset(size_t j) const { return offset_ + j; }
    Ahead* begin_tile(size_t j, size_t rows, size_t columns) {
        if constexpr (!fetching) return nullptr;
        const size_t next = j + columns;
        const bool more = next < g_.n;
        if (are_many(g_.ahead)) {
            ahead_ = {g_.ahead, columns};
        } else if (fetching_factors_ && !more) {
            ahead_ = fetch(g_.x + end_, g_.ldx, end_ < g_.k ? g_.m : 0);
        } else if (fetching_factors_ && offset_ == 0) {
            ahead_ = fetch(g_.dz + next, g_.lddz, g_.m);
        } else {
            ahead_ = fetch(g_.out + offset(next), g_.ldw, more ? rows : 0);
        }
        return &ahead_;
    }
    void end_tile(size_t, size_t, size_t) {}
    void end_rows() {}
    void end() {}

private:
    // A panel's columns of so many rows while a tile computes.
    Ahead fetch(const T* first, size_t ld, size_t rows) const { return {{first}, ld, rows, panel_columns<T>, 1, g_.m}; }

    const WeightGradient<T>& g_;
    const bool fetching_factors_;
    size_t offset_ = 0, end_ = 0;
    Ahead ahead_;
};

// `ahead` for tiles that are interrupted; the others share their code.
template <bool interrupted, class T, class Ahead>
auto* ahead_of(Ahead* ahead) {
    if constexpr (interrupted) {
        return ahead;
    } else {
        return static_cast<Prefetch<T, 1, true>*>(nullptr);
    }
}

// Tiles of W by rows. `packing`: a tile's columns of X are copied to scratch, and the first tiles leave the panels of
// dZ there. `rows` says what becomes of the results, and what is done meanwhile. Both are for more than one tile.
template <bool packing, class Rows, class T>
void update_rows(const WeightGradient<T>& g, Rows rows) {
    constexpr size_t tiles = Rows::least_tiles(packing), least = tiles > 0 ? least_height(tiles) : 1;
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
        rows.begin_rows(i, height.n);
        for (size_t j = 0; j < g.n;) {
            const Panel<T> panel(g.n - j);
            if (Rows::leaves_narrow && is_narrow(g, panel.columns)) return;
            T* packed = panels + j * g.m;
            typename Rows::Ahead* ahead = rows.begin_tile(j, height.n, panel.columns);
            read_ahead(g.ahead);
            with_columns<T>(panel.width, [&](auto columns) {
                using Columns = decltype(columns);
                constexpr bool packing_one = Rows::interrupts(packing, Columns::vectors);
                constexpr bool later = Rows::interrupts(false, Columns::vectors);
                if (packing && i > 0) {
                    update_tile<false, later, height.n, Columns, T>(rows.results(), rows.offset(j), panel.columns, x,
                                                                    ldx, packed, panel.width, nullptr,
                                                                    ahead_of<later, T>(ahead));
                } else {
                    update_tile<packing, packing_one, height.n, Columns, T>(rows.results(), rows.offset(j),
                                                                            panel.columns, x, ldx, g.dz + j, g.lddz,
                                                                            packed, ahead_of<packing_one, T>(ahead));
                }
            });
            rows.end_tile(j, height.n, panel.columns);
            j += panel.columns;
        }
        rows.end_rows();
    });
    rows.end();
}

// The last columns where they are narrow: update_rows leaves those out.
template <class T>
void update_narrow(const WeightGradient<T>& g) {
    const size_t columns = last_panel<T>(g.n);
    if (columns == 0 || !is_narrow(g, columns)) return;
    const size_t j = g.n - columns;
    const size_t multiplied = columns < piece<T> ? piece<T> : columns;
    with_count<piece<T>, narrow_pieces * piece<T>>(multiplied, [&](auto width) {
        constexpr size_t most = narrow_vectors<width.n>;
        for (size_t i = 0; i < g.k; i += most * lanes<T>) {
            const size_t rows = at_most(g.k - i, most * lanes<T>);
            with_count<1, most>((rows + lanes<T> - 1) / lanes<T>, [&](auto vectors) {
                update_narrow_tile<vectors.n, width.n>(g, i * g.ldw + j, rows, columns, g.x + i, g.dz + j);
            });
        }
    });
}

// By register tiles, row by row of them, each by all columns.
template <class T>
void tiled_weight_gradient(const WeightGradient<T>& g) {
    const bool several = g.k > tile_rows, packing = several && copies(g);
    const bool fetching = several && (are_many(g.ahead) || is_far<T>(g.all_rows, g.ldw));
    if (!is_narrow(g, g.n)) {
        if (fetching) {
            const StoredRows<T, true> rows(g);
            packing ? update_rows<true>(g, rows) : update_rows<false>(g, rows);
        } else {
            const StoredRows<T, false> rows(g);
            packing ? update_rows<true>(g, rows) : update_rows<false>(g, rows);
        }
    }
    update_narrow(g);
}

// So many bytes of dZ stay near from one row of tiles to the next. (Shorter vectors compute so long with what they read
// that it comes in time from farther away.)
constexpr size_t near_bytes = FUSEDNET_VECTOR_BYTES >= 32 ? size_t{1} << 19 : ~size_t{0};

// Of rows that are a block. By so many columns at a time that their dZ stays near: whole panels.
template <class T>
void block_weight_gradient(const WeightGradient<T>& g) {
    if (g.n == 1 && g.ldw == 1) return column_weight_gradient(g);
    if (g.m <= shallow_depth && g.n >= lanes<T>)
        return with_count<1, shallow_depth>(g.m, [&](auto rows) { update_shallow<rows.n>(g); });
    const size_t bytes = g.m * g.n * sizeof(T);
    if (g.k <= tile_rows || bytes <= near_bytes) return tiled_weight_gradient(g);
    const size_t parts = bytes / near_bytes + 1, panels = g.n / parts / panel_columns<T> + 1;
    for (size_t j = 0, columns; j < g.n; j += columns) {
        WeightGradient<T> part = g;
        part.n = columns = at_most(panels * panel_columns<T>, g.n - j);
        part.w += j;
        part.out += j;
        part.dz += j;
        tiled_weight_gradient(part);
    }
}

template <class T>
void weight_gradient(const WeightGradient<T>& g) {
    for_each_block(g, block_weight_gradient<T>);
}

}  // namespace fusednet::FUSEDNET_SET
