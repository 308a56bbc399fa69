// The gradient of a dense layer's weights by the tiles of AMX: stored, or added to W, or W takes the optimizer's step
// by it.
#pragma once

#include "amx_blocks.inl"
#include "weight_step.inl"

namespace fusednet::FUSEDNET_SET {

// Elements of scratch for the tiles of dZ, and of two blocks of X.
inline size_t factor_size(size_t m, size_t n) {
    return (tiled_elements(n, m) + 2 * tiled_elements(block_side, m)) * sizeof(BFloat16) / sizeof(float);
}

inline size_t amx_weight_scratch(size_t m, size_t ldw) {
    const size_t plain = float_kernels.weight_scratch(m, ldw), rows = at_most(m, most_block_rows);
    const size_t wanted = factor_size(rows, ldw) + 2 * block_side * ldw;
    return ldw >= tiled_width && wanted > plain ? wanted : plain;
}

inline bool suits_tiles(const WeightGradient<float>& g) {
    return g.m >= tiled_depth && g.all_rows >= tiled_depth && g.ldw >= tiled_width;
}

// g without its first rows of W.
inline WeightGradient<float> rows_from(WeightGradient<float> g, size_t row) {
    g.x += row;
    g.w += row * g.ldw;
    g.out += row * g.ldw;
    g.k -= row;
    return g;
}

// What is done beside the products: something for the rows, and what else.
template <class Rows, class Ahead>
struct Beside {
    using State = typename Ahead::State;
    Rows& rows;
    Ahead& ahead;

    State begin_block() const { return ahead.begin_block(); }
    FUSEDNET_INLINE void next(State& state) {
        rows.next();
        ahead.next(state);
    }
    void end_block(State state) { ahead.end_block(state); }
};

// The last columns, which are narrow_columns, of some rows of W: AVX-512's kernels have a tile for as few as that.
inline void weights_narrow(WeightGradient<float> g, size_t rows, size_t first) {
    g.k = rows;
    g.n -= first;
    g.dz += first;
    g.w += first;
    g.out += first;
    float_kernels.weight_gradient(g);
}

// By blocks of rows of W, until X or dZ turns out not to be finite: returns how many have been computed. `rows` says
// what becomes of a block's gradient, and what is done beside its products.
template <class Rows>
size_t weights_by_tiles(const WeightGradient<float>& g, Rows& rows) {
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
    const auto block = [&](size_t row, size_t turn) {
        return TransposedUnits<Factor::left>(g.x + row, g.ldx, at_most(g.k - row, block_side), m.tiled,
                                             x_tiles[turn % 2]);
    };
    split_all(block(0, 0), finite);
    size_t k = 0;
    for (size_t turn = 0; k < g.k && finite.all(); k += block_side, ++turn) {
        const size_t height = at_most(g.k - k, block_side);
        const Tiled x{x_tiles[turn % 2], dz.steps};
        const bool more = k + block_side < g.k;
        SplitAhead<TransposedUnits<Factor::left>> next(block(more ? k + block_side : k, turn + 1));
        if (more) next.spread(tiles_of(n, block_side), dz.steps);
        Beside<Rows, decltype(next)> beside{rows, next};
        const WeightGradient<float> part = rows.begin(k, height);
        finish_weights(part, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
            for_each_side(n, [&](size_t tile, size_t columns) {
                BlockSums sums;
                read_beside_block(g.ahead, dz.steps);
                const size_t j = tile * tile_side, width = at_most(n - j, block_side);
                multiply_block(x, 0, tiles_of(height, tile_side), dz, tile, columns, sums, beside);
                add_rest(rest.from(k, j), height, columns, sums.at, block_side);
                for (size_t i = 0; i < height; ++i) {
                    const float *w = part.w + i * g.ldw + j, *sum = sums.at + i * block_side;
                    float* out = part.out + i * g.ldw + j;
                    for_each_vector<float>(width, [&](size_t c, auto access) {
                        access.store(out + c, with_weight(access.load(sum + c), [=] { return access.load(w + c); }));
                    });
                }
            });
        });
        if (more) next.finish(finite);
        if (n < g.n) weights_narrow(part, height, n);
        rows.end();
    }
    rows.finish();
    return at_most(g.k, k);
}

// They are stored, or added to W.
struct StoredWeights {
    const WeightGradient<float>& g;

    WeightGradient<float> begin(size_t row, size_t) const { return rows_from(g, row); }
    FUSEDNET_INLINE void next() const {}
    void end() const {}
    void finish() const {}
};

inline void amx_weight_gradient(const WeightGradient<float>& g) {
    if (!suits_tiles(g)) return float_kernels.weight_gradient(g);
    for_each_block(g, [](const WeightGradient<float>& block) {
        StoredWeights rows{block};
        const size_t done = weights_by_tiles(block, rows);
        if (done < block.k) float_kernels.weight_gradient(rows_from(block, done));
    });
}

// They go to scratch, by which their rows of W take the step, while they are near.
class WeightsInScratch {
public:
    WeightsInScratch(const WeightGradient<float>& g, const OptimizerStep<float>& step)
        : step_(step), g_(g), gradient_(g.scratch + factor_size(g.m, g.n)) {}

    WeightGradient<float> begin(size_t row, size_t rows) {
        row_ = row;
        rows_ = rows;
        WeightGradient<float> part = rows_from(g_, row);
        part.out = gradient_;
        return part;
    }
    FUSEDNET_INLINE void next() {}
    void end() { take_step(g_, step_, row_, rows_, gradient_); }
    void finish() {}

protected:
    const OptimizerStep<float> step_;
    const WeightGradient<float>& g_;
    float* gradient_;
    size_t row_ = 0, rows_ = 0;
};

// Adam's step beside the products of the next rows. (W's rows follow each other.)
template <Decay decay>
class AdamBesideProducts : public WeightsInScratch {
public:
    AdamBesideProducts(const WeightGradient<float>& g, const OptimizerStep<float>& step)
        : WeightsInScratch(g, step), adam_(*step.arguments) {}

    WeightGradient<float> begin(size_t row, size_t rows) {
        hand_over();
        float* const before = gradient_;
        gradient_ = other_;
        other_ = before;
        return WeightsInScratch::begin(row, rows);
    }
    FUSEDNET_INLINE void next() {
        for (size_t i = 0; i < each_ && adam_.interval() != never; ++i) adam_.next();
    }
    void end() { adam_.finish(); }
    void finish() {
        hand_over();
        adam_.finish();
    }

private:
    void hand_over() {
        const size_t elements = rows_ * g_.n;
        adam_.begin(step_.from(row_ * g_.n), gradient_, elements, 1, 1);
        each_ = tiles_of(elements / lanes<float>, products * tiles_of(g_.n, block_side) * tiles_of(g_.m, tile_depth));
    }

    AdamBesideTiles<decay, float> adam_;
    size_t each_ = 0;
    float* other_ = gradient_ + block_side * g_.ldw;
};

// Where the depth is one block, W takes the step by rows while their gradient is near.
inline void amx_weight_step(const WeightGradient<float>& g, const OptimizerStep<float>& step) {
    if (!suits_tiles(g)) return float_kernels.weight_step(g, step);
    if (g.m > most_block_rows) {
        amx_weight_gradient(g);
        return take_step(g, step, 0, g.k, g.out);
    }
    const auto take = [&](auto rows) {
        const size_t done = weights_by_tiles(g, rows);
        if (done < g.k) float_kernels.weight_step(rows_from(g, done), step.from(done * g.ldw));
    };
    const UpdateArguments& a = *step.arguments;
    if (is_adam(a) && !a.drop_subnormal && g.n == g.ldw) {
        with_decay(a, [&](auto decay) { take(AdamBesideProducts<decay.value>(g, step)); });
    } else {
        take(WeightsInScratch(g, step));
    }
}

}  // namespace fusednet::FUSEDNET_SET
