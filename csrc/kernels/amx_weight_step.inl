// The optimizer's step of a dense layer's weights by their gradient, which comes from the tiles of AMX.
#pragma once

#include "amx_weight_gradient.inl"
#include "weight_step.inl"

namespace fusednet::FUSEDNET_SET {

// Beside the factors, the gradient of a block's rows.
inline size_t amx_weight_scratch(size_t m, size_t ldw) {
    const size_t plain = float_kernels.weight_scratch(m, ldw), rows = at_most(m, most_block_rows);
    const size_t wanted = factor_size(rows, ldw) + block_side * ldw;
    return ldw >= tiled_width && wanted > plain ? wanted : plain;
}

// AVX-512's step of so many rows of W from one on.
inline void step_without_tiles(const WeightGradient<float>& g, const OptimizerStep<float>& step, size_t row,
                               size_t rows) {
    float_kernels.weight_step(rows_of(g, row, rows), step.from(row * g.ldw));
}

// The gradient goes to scratch, by which its rows of W take the step, while they are near.
class StepAfterBlocks : public StoredWeights {
public:
    StepAfterBlocks(const WeightGradient<float>& g, const OptimizerStep<float>& step)
        : StoredWeights(g), step_(step), gradient_(g.scratch + factor_size(g.m, g.n)) {}

    WeightGradient<float> begin(size_t row, size_t rows) {
        row_ = row;
        WeightGradient<float> part = rows_of(g_, row, rows);
        part.out = gradient_;
        return part;
    }
    void end(size_t rows, size_t) const { take_step(g_, step_, row_, rows, gradient_); }
    void without_tiles(size_t row, size_t rows) const { step_without_tiles(g_, step_, row, rows); }

private:
    const OptimizerStep<float> step_;
    float* gradient_;
    size_t row_ = 0;
};

// Adam's step of some rows and columns of W by the sums of their gradient, a row at a time.
template <Decay decay>
class AdamRows {
public:
    AdamRows(const WeightGradient<float>& g, const AdamStep<decay, float>& adam, const OptimizerStep<float>& step,
             size_t rows, size_t columns, const float* sums, size_t lds)
        : g_(&g), adam_(adam), step_(step), rows_(rows), columns_(columns), sums_(sums), lds_(lds) {}

    size_t count() const { return rows_; }

    [[gnu::noinline]] void next() {
        // In registers, as stores might else change what is read through `this`.
        const AdamStep<decay, float> adam = adam_;
        const OptimizerStep<float> at = step_;
        const float* const sums = sums_;
        const size_t ldw = g_->ldw, columns = columns_;
        if (g_->shared && rows_ > lead) {  // by then other cores no longer have the lines
            const OptimizerStep<float> later = at.from(lead * ldw);
            fetch_rows<block_side, true>(later.w, ldw, 1);
            fetch_rows<block_side, true>(later.first, ldw, 1);
            fetch_rows<block_side, true>(later.second, ldw, 1);
        }
        finish_weights(*g_, [&](auto with_weight) FUSEDNET_ALWAYS_INLINE {
            const auto step = [&](size_t j, auto access) FUSEDNET_ALWAYS_INLINE {
                float *const w = at.w + j, *const first = at.first + j, *const second = at.second + j;
                const Floats gradient = with_weight(access.load(sums + j), [=] { return access.load(w); });
                const Ratio<float> ratio = adam.renew(w, gradient, first, second, access);
                adam.take(w, ratio.numerator, square_root(ratio.square) + adam.epsilon, access);
            };
            if (columns == block_side) {  // most: a loop takes 1 % of a step more
                step(0, WholeAccess<float>{});
                step(tile_side, WholeAccess<float>{});
            } else {
                for_each_vector<float>(columns, step);
            }
        });
        step_ = at.from(ldw);
        sums_ += lds_;
        --rows_;
    }

private:
    static constexpr size_t lead = 2;  // rows

    const WeightGradient<float>* g_;
    AdamStep<decay, float> adam_;
    OptimizerStep<float> step_;
    size_t rows_, columns_;
    const float* sums_;
    size_t lds_;
};

// Adam's step of a block beside the products of the next, by its sums, which are still in the first-level cache.
template <Decay decay>
class AdamBesideProducts {
public:
    using Work = Beside<AdamRows<decay>>;

    AdamBesideProducts(const WeightGradient<float>& g, const OptimizerStep<float>& step)
        : g_(g),
          step_(step),
          adam_(*step.arguments),
          narrow_(g.scratch + factor_size(g.m, g.n)),
          work_(rows(0, 0, 0, nullptr, 0)) {}

    WeightGradient<float> begin(size_t row, size_t rows) {
        row_ = row;
        WeightGradient<float> part = rows_of(g_, row, rows);
        part.out = narrow_;
        part.factor = 1;
        part.decay = 0;
        return part;
    }
    Work& work() { return work_; }
    BlockSums& sums() { return sums_[turn_]; }
    void fetch(const WeightGradient<float>&, size_t, size_t) const {}  // AdamRows does
    template <class WithWeight>
    void take(const WeightGradient<float>&, size_t j, size_t height, size_t width, const WithWeight&) {
        work_.finish();
        work_ = Work(rows(j, height, width, sums().at, block_side));
        turn_ = 1 - turn_;
    }
    // The sums of the last columns, from `first` on, have come without tiles.
    void end(size_t height, size_t first) {
        if (first < g_.n) Work(rows(first, height, g_.n - first, narrow_ + first, g_.ldw)).finish();
    }
    void finish() { work_.finish(); }
    void without_tiles(size_t row, size_t rows) const { step_without_tiles(g_, step_, row, rows); }

private:
    AdamRows<decay> rows(size_t column, size_t height, size_t width, const float* sums, size_t lds) const {
        return {g_, adam_, step_.from(row_ * g_.ldw + column), height, width, sums, lds};
    }

    const WeightGradient<float>& g_;
    const OptimizerStep<float> step_;
    const AdamStep<decay, float> adam_;
    float* const narrow_;
    size_t row_ = 0, turn_ = 0;
    Work work_;
    BlockSums sums_[2];
};

// Where the depth is one block, W takes the step by rows while their gradient is near.
inline void amx_weight_step(const WeightGradient<float>& g, const OptimizerStep<float>& step) {
    if (!suits_tiles(g)) return float_kernels.weight_step(g, step);
    if (g.m > most_block_rows) {
        amx_weight_gradient(g);
        return take_step(g, step, 0, g.k, g.out);
    }
    const UpdateArguments& a = *step.arguments;
    if (is_adam(a) && !a.drop_subnormal) {
        with_decay(a, [&](auto decay) {
            AdamBesideProducts<decay.value> rows(g, step);
            weights_by_tiles(g, rows, a.backward);
        });
    } else {
        StepAfterBlocks rows(g, step);
        weights_by_tiles(g, rows, false);
    }
}

}  // namespace fusednet::FUSEDNET_SET
