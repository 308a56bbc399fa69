// The optimizer's step of a dense layer's weights by their gradient, which is taken row by row where that is quicker.
#pragma once

#include "updates.inl"
#include "weight_gradient.inl"

namespace fusednet::FUSEDNET_SET {

// More tiles than so many take the step by rows. (Fewer heights to compile.)
constexpr size_t stepping_tiles = 6;

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

// Of two tiles' rows the gradient has to lie somewhere.
template <class T>
size_t weight_scratch(size_t m, size_t ldw) {
    return at_most(m, most_block_rows) * (x_tile_width<T> + whole_vectors<T>(ldw)) + 2 * tile_rows * ldw;
}

// The step of some rows of W, `row` the first of them, by their gradient.
template <class T>
void take_step(const WeightGradient<T>& g, const OptimizerStep<T>& step, size_t row, size_t rows, const T* gradient) {
    const auto update_from = [&](size_t i, size_t count) {
        const OptimizerStep<T> s = step.from((row + i) * g.ldw);
        update(*s.arguments, s.w, gradient + i * g.ldw, s.first, s.second, count);
    };
    if (g.n == g.ldw) return update_from(0, rows * g.n);
    for (size_t i = 0; i < rows; ++i) update_from(i, g.n);
}

// For update_rows: the gradient of a tile's rows goes to scratch.
template <class T>
class RowsInScratch {
public:
    static constexpr bool leaves_narrow = false;
    static constexpr size_t least_tiles(bool) { return stepping_tiles; }

    RowsInScratch(const WeightGradient<T>& g, const OptimizerStep<T>& step)
        : step_(step), claimed_(is_read_by_others(g)), g_(g), strip_(g) {}

    const WeightGradient<T>& results() const { return strip_; }
    size_t offset(size_t j) const { return j; }
    void end_tile(size_t j, size_t rows, size_t columns) {
        // The lines leave while the next tile computes.
        if (claimed_) claim_rows(step_.w + row_ * g_.ldw + j, g_.ldw, rows, columns);
    }

protected:
    void move_to(size_t row, size_t half) {
        row_ = row;
        strip_.w = g_.w + row * g_.ldw;
        strip_.out = g_.scratch + g_.m * (x_tile_width<T> + whole_vectors<T>(g_.n)) + half * tile_rows * g_.ldw;
    }

    const OptimizerStep<T> step_;
    const bool claimed_;
    const WeightGradient<T>& g_;
    WeightGradient<T> strip_;
    size_t row_ = 0;
};

// Before the next they take the step by it; what that needs is fetched meanwhile.
template <class T>
class StepAfterRows : public RowsInScratch<T> {
public:
    using Ahead = Prefetch<T, 3, true>;
    static constexpr bool interrupts(bool, size_t) { return true; }

    using RowsInScratch<T>::RowsInScratch;

    void begin_rows(size_t row, size_t rows) {
        this->move_to(row, 0);
        rows_ = rows;
    }
    Ahead* begin_tile(size_t j, size_t rows, size_t columns) {
        const OptimizerStep<T> s = this->step_.from(this->row_ * this->g_.ldw + j);
        const T *first = s.first != nullptr ? s.first : s.w, *second = s.second != nullptr ? s.second : s.w;
        ahead_ = {{s.w, first, second}, this->g_.ldw, rows, columns, 1, this->g_.m};
        return &ahead_;
    }
    void end_rows() { take_step(this->g_, this->step_, this->row_, rows_, this->strip_.out); }
    void end() {}

private:
    size_t rows_ = 0;
    Ahead ahead_;
};

// While the next compute, they take Adam's step by it. (W's rows follow each other.)
template <Decay decay, class T>
class AdamBesideRows : public RowsInScratch<T> {
public:
    using Ahead = AdamBesideTiles<decay, T>;
    static_assert(least_height(stepping_tiles) * tile_vectors >= 3);  // vectors, at least
    // Tiles that pack are those of the first rows, which have none before them, and tiles of fewer vectors are few:
    // they are not worth code of their own.
    static constexpr bool interrupts(bool packing, size_t vectors) { return !packing && vectors == tile_vectors; }

    AdamBesideRows(const WeightGradient<T>& g, const OptimizerStep<T>& step)
        : RowsInScratch<T>(g, step), ahead_(*step.arguments) {}

    void begin_rows(size_t row, size_t rows) {
        hand_over();
        half_ = 1 - half_;
        this->move_to(row, half_);
        rows_ = rows;
    }
    Ahead* begin_tile(size_t, size_t, size_t) { return &ahead_; }
    void end_rows() { ahead_.finish(); }
    void end() {
        hand_over();
        ahead_.finish();
    }

private:
    void hand_over() {
        const size_t n = this->g_.n, tiles = n / panel_columns<T>;
        ahead_.begin(this->step_.from(this->row_ * n), this->strip_.out, rows_ * n, tiles, this->g_.m);
    }

    size_t half_ = 0, rows_ = 0;
    Ahead ahead_;
};

// By rows where the depth is a single block, so that their gradient is whole, and not so short that what is done
// meanwhile would interrupt it every few steps. Adam's step is then taken beside the tiles, but of vectors as short as
// SSE2's, whose turns are too many; that of other rules by rows where W is far, or has to be claimed and has tiles as
// wide as they come, which leave the time for it.
template <class T>
void weight_step(const WeightGradient<T>& g, const OptimizerStep<T>& step) {
    constexpr size_t least_depth = 32;
    const UpdateArguments& a = *step.arguments;
    const bool claimed = is_read_by_others(g), wide = g.n >= panel_columns<T>;
    const auto by_rows = [&g](const auto& rows) {
        return copies(g) ? update_rows<true>(g, rows) : update_rows<false>(g, rows);
    };
    if (g.m >= least_depth && g.m <= most_block_rows && g.k > stepping_tiles * tile_rows) {
        if constexpr (FUSEDNET_VECTOR_BYTES > 16) {
            if (is_adam(a) && !a.drop_subnormal && wide && g.n == g.ldw)
                return with_decay(a, [&](auto decay) { by_rows(AdamBesideRows<decay.value, T>(g, step)); });
        }
        if (is_far<T>(g.all_rows, g.ldw) || (claimed && wide)) return by_rows(StepAfterRows<T>(g, step));
    }
    weight_gradient(g);
    if (claimed) claim_rows(step.w, g.ldw, g.k, g.n);
    take_step(g, step, 0, g.k, g.out);
}

}  // namespace fusednet::FUSEDNET_SET
