// What is done beside the products of AMX: the tile unit is busy with each for long after it has begun, and meanwhile
// the vector units split the next factor, take Adam's step or fetch rows.
#pragma once

#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t products = 6;  // of a step: those of two parts each

// Units of work, done one after the other beside the products of some blocks, evenly. Each block goes on with a copy
// that nothing has the address of, so that what changes is in registers: stores, too many with those of the results
// that wait before them, would hold up the products.
template <class Units>
class Beside {
public:
    explicit Beside(const Units& units) : units_(units), count_(units.count()), left_(count_) {}

    // Spreads them over so many blocks of so many steps.
    void spread(size_t blocks, size_t steps) { turns_ = products * blocks * steps; }
    FUSEDNET_INLINE void next() {
        for (due_ += count_; due_ >= turns_ && left_ > 0; due_ -= turns_) next_unit();
    }
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

// A multiply-add, for what has little else to do beside its products: after 0.6 us of tiles without any, the next that
// are stored take 0.3 us more (Granite Rapids).
struct MultiplyAdd {
    FUSEDNET_INLINE void next() const {
        Vec<float> sum{};
        __asm__ volatile("vfmadd213ps %0, %0, %0" : "+v"(sum));
    }
};

}  // namespace fusednet::FUSEDNET_SET
