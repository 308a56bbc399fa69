// The gradient of a dense layer's weights by the tiles of AMX: stored, or added to W.
#pragma once

#include "amx_blocks.inl"
#include "weight_gradient.inl"

namespace fusednet::FUSEDNET_SET {

// Elements of scratch for the tiles of dZ, and of two blocks of X.
inline size_t factor_size(size_t m, size_t n) {
    return (tiled_elements(n, m) + 2 * tiled_elements(block_side, m)) * sizeof(BFloat16) / sizeof(float);
}

inline bool suits_tiles(const WeightGradient<float>& g) {
    return g.m >= tiled_depth && g.all_rows >= tiled_depth && g.ldw >= tiled_width;
}

// g of so many rows of W.
inline WeightGradient<float> rows_of(WeightGradient<float> g, size_t first, size_t count) {
    g.x += first;
    g.w += first * g.ldw;
    g.out += first * g.ldw;
    g.k = count;
    return g;
}

// Rows of W that are about to be written, fetched so that this core alone has them.
class RowsToWrite {
public:
    RowsToWrite(const float* w, size_t ldw, size_t rows) : w_(w), ldw_(ldw), rows_(rows) {}

    size_t count() const { return rows_; }
    FUSEDNET_INLINE void next() {
        fetch_rows<block_side, true>(w_, ldw_, 1);
        w_ += ldw_;
    }

private:
    const float* w_;
    size_t ldw_, rows_;
};

// The last columns, which are narrow_columns, of some rows of W: AVX-512's kernels have a tile for as few as that.
inline void weights_narrow(WeightGradient<float> g, size_t first) {
    g.n -= first;
    g.dz += first;
    g.w += first;
    g.out += first;
    float_kernels.weight_gradient(g);
}

// The rows of W that go by tiles: a few last ones are not worth one. (They are the same ones however W was cut, see
// WeightGradient.)
inline size_t tiled_weight_rows(size_t k) {
    constexpr size_t few = 8;
    const size_t last = k % tile_side;
    return last <= few ? k - last : k;
}

// By blocks of those rows, the last first if `backward`, until X or dZ turns out not to be finite. `rows` says what
// becomes of a block's sums, what work is done beside its products, and how so many rows from one on that are left come
// without tiles.
template <class Rows>
void weights_by_tiles(const WeightGradient<float>& g, Rows& rows, bool backward) {
    const size_t end = tiled_weight_rows(g.k), blocks = tiles_of(end, block_side);
    if (blocks == 0) return rows.without_tiles(0, g.k);
    const Tiles configured;
    const Depth m(g.m);
    auto* const first = reinterpret_cast<BFloat16*>(g.scratch);
    BFloat16* const x_tiles[] = {first, first + tiled_elements(block_side, m.tiled)};
    BFloat16* const dz_tiles = first + 2 * tiled_elements(block_side, m.tiled);
    Finite finite;
    const size_t n = g.n - narrow_columns<float>(g.n);
    for (size_t j = 0; j < n; j += block_side) {
        BFloat16* const out = dz_tiles + j / tile_side * tiled_elements(tile_side, m.tiled);
        split_all(DirectUnits<Factor::right>(g.dz + j, g.lddz, at_most(n - j, block_side), m.tiled, out), finite);
    }
    const Tiled dz{dz_tiles, tiles_of(m.tiled, tile_depth)};
    const RestOfDepth rest{g.x + m.tiled * g.ldx, 1, g.ldx, g.dz + m.tiled * g.lddz, g.lddz, m.rest};
    Turned turned;
    const auto row_of = [=](size_t turn) { return (backward ? blocks - 1 - turn : turn) * block_side; };
    const auto block = [&](size_t row, size_t turn) {
        return TransposedUnits<Factor::left>(g.x + row, g.ldx, at_most(end - row, block_side), m.tiled,
                                             x_tiles[turn % 2], turned);
    };
    split_all(block(row_of(0), 0), finite);
    size_t turn = 0;
    for (; turn < blocks && finite.all(); ++turn) {
        const size_t k = row_of(turn), height = at_most(end - k, block_side);
        const Tiled x{x_tiles[turn % 2], dz.steps};
        const bool more = turn + 1 < blocks;
        Beside<TransposedUnits<Factor::left>> next(block(more ? row_of(turn + 1) : k, turn + 1));
        if (more) next.spread(tiles_of(n, block_side), dz.steps);
        const WeightGradient<float> part = rows.begin(k, height);
        finish_weights(part, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
            for_each_side(n, [&](size_t tile, size_t columns) {
                BlockSums& sums = rows.sums();
                read_beside_block(g.ahead, dz.steps);
                const size_t j = tile * tile_side, width = at_most(n - j, block_side);
                rows.fetch(part, j, height);
                rows.work().spread(1, dz.steps);
                multiply_block(x, 0, tiles_of(height, tile_side), dz, tile, columns, sums, rows.work(), next);
                add_rest(rest.from(k, j), height, columns, sums.at, block_side);
                rows.take(part, j, height, width, with_weight);
            });
        });
        if (more) finite.add(next.finish().finite());
        if (n < g.n) weights_narrow(part, n);
        rows.end(height, n);
    }
    rows.finish();
    if (turn < blocks) {
        const size_t k = row_of(turn);
        backward ? rows.without_tiles(0, at_most(end, k + block_side)) : rows.without_tiles(k, end - k);
    }
    if (end < g.k) rows.without_tiles(end, g.k - end);
}

// They are stored, or added to W.
class StoredWeights {
public:
    using Work = Beside<RowsToWrite>;

    explicit StoredWeights(const WeightGradient<float>& g) : g_(g), fetches_(g.update && is_read_by_others(g)) {}

    WeightGradient<float> begin(size_t row, size_t rows) const { return rows_of(g_, row, rows); }
    Work& work() { return work_; }
    BlockSums& sums() { return sums_; }
    void fetch(const WeightGradient<float>& part, size_t j, size_t rows) {
        if (fetches_) work_ = Work({part.out + j, part.ldw, rows});
    }
    template <class WithWeight>
    FUSEDNET_INLINE void take(const WeightGradient<float>& part, size_t j, size_t rows, size_t columns,
                              const WithWeight& with_weight) const {
        for (size_t i = 0; i < rows; ++i) {
            const float *w = part.w + i * part.ldw + j, *sum = sums_.at + i * block_side;
            float* out = part.out + i * part.ldw + j;
            for_each_vector<float>(columns, [&](size_t c, auto access) {
                access.store(out + c, with_weight(access.load(sum + c), [=] { return access.load(w + c); }));
            });
        }
    }
    void end(size_t, size_t) const {}
    void finish() const {}
    void without_tiles(size_t row, size_t rows) const { float_kernels.weight_gradient(rows_of(g_, row, rows)); }

protected:
    const WeightGradient<float>& g_;

private:
    const bool fetches_;
    Work work_{{nullptr, 0, 0}};
    BlockSums sums_;
};

inline void amx_weight_gradient(const WeightGradient<float>& g) {
    if (!suits_tiles(g)) return float_kernels.weight_gradient(g);
    for_each_block(g, [](const WeightGradient<float>& block) {
        StoredWeights rows{block};
        weights_by_tiles(block, rows, false);
    });
}

}  // namespace fusednet::FUSEDNET_SET
