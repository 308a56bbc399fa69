// What is done beside the products of AMX: the tile unit is busy with each for long after it has begun, and meanwhile
// the vector units split the next factor, take Adam's step or fetch rows.
#pragma once

#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t products = 6;  // of a step: those of two parts each

// Units of work, done one after the other beside the products of some blocks, evenly.
template <class Units>
class Beside {
public:
    // What changes with each product: for a variable of its own, to be in a register. (Stores, too many with those of
    // the results that wait before them, would hold up the products.)
    using State = size_t;

    explicit Beside(const Units& units) : units_(units), count_(units.count()), left_(count_) {}

    // Spreads them over so many blocks of so many steps.
    void spread(size_t blocks, size_t steps) { turns_ = products * blocks * steps; }
    State begin_block() const { return due_; }
    FUSEDNET_INLINE void next(State& due) {
        for (due += count_; due >= turns_ && left_ > 0; due -= turns_) next_unit();
    }
    void end_block(State due) { due_ = due; }
    const Units& finish() {
        while (left_ > 0) next_unit();
        return units_;
    }

private:
    FUSEDNET_INLINE void next_unit() {
        --left_;
        units_.next();
    }

    Units units_;
    size_t count_, left_, turns_ = never, due_ = 0;
};

// Two kinds of work beside the same products.
template <class First, class Second>
struct Both {
    struct State {
        typename First::State first;
        typename Second::State second;
    };
    First& first;
    Second& second;

    State begin_block() const { return {first.begin_block(), second.begin_block()}; }
    FUSEDNET_INLINE void next(State& state) {
        first.next(state.first);
        second.next(state.second);
    }
    void end_block(const State& state) {
        first.end_block(state.first);
        second.end_block(state.second);
    }
};

}  // namespace fusednet::FUSEDNET_SET
