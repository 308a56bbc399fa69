// What is split little by little: by units, at once or beside the products of what was split before.
#pragma once

#include "amx_split.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t tiles_of(size_t n, size_t side) { return (n + side - 1) / side; }

// Tiles side by side in a block of sums.
constexpr size_t block_tiles = 2, block_side = block_tiles * tile_side;

// The tiles of a factor, 16 of its rows or columns after the others, each for all of the depth.
struct Tiled {
    const BFloat16* first;
    size_t steps;  // of tile_depth

    const BFloat16* tile(size_t i) const { return first + i * steps * split_parts * tile_elements; }
};

constexpr size_t tiled_elements(size_t side, size_t depth) {  // of BFloat16
    return tiles_of(side, tile_side) * tiles_of(depth, tile_depth) * split_parts * tile_elements;
}

// Some rows of a matrix, up to a block, as a left factor: a unit is 32 columns of a row of each tile.
class LeftUnits {
public:
    LeftUnits(const float* x, size_t ld, size_t rows, size_t depth, BFloat16* out)
        : x_(x), ld_(ld), rows_(rows), depth_(depth), apart_(tiled_elements(tile_side, depth)), out_(out) {}

    size_t count() const { return tiles_of(depth_, tile_depth) * tile_side; }
    const Finite& finite() const { return finite_; }

    [[gnu::noinline]] void split_next() {
        const float* row = x_ + row_ * ld_;
        BFloat16* out = out_ + row_ * tile_depth;
        split_row(row, row_ < rows_, out);
        if (rows_ > tile_side) split_row(row + tile_side * ld_, row_ + tile_side < rows_, out + apart_);
        if (++row_ < tile_side) return;
        row_ = 0;
        x_ += tile_depth;
        depth_ -= at_most(depth_, tile_depth);
        out_ += split_parts * tile_elements;
    }

private:
    FUSEDNET_INLINE void split_row(const float* row, bool inside, BFloat16* out) {
        const size_t depth = inside ? depth_ : 0, first = at_most(depth, tile_side);
        split_left_row(row, first, at_most(depth - first, tile_side), out, finite_);
        for (size_t j = 0; j < tile_depth; j += tile_side) __builtin_prefetch(row + 2 * tile_depth + j);
    }

    const float* x_;
    size_t ld_, rows_, depth_, apart_;
    BFloat16* out_;
    size_t row_ = 0;
    Finite finite_;
};

// Some columns of a matrix, up to a block, as a right factor: a unit is a pair of rows.
class RightUnits {
public:
    RightUnits(const float* x, size_t ld, size_t depth, size_t columns, BFloat16* out)
        : row_(x),
          ld_(ld),
          depth_(depth),
          first_(at_most(columns, tile_side)),
          second_(columns - first_),
          apart_(tiled_elements(tile_side, depth)),
          out_(out) {}

    size_t count() const { return tiles_of(depth_, tile_depth) * tile_side; }
    const Finite& finite() const { return finite_; }

    [[gnu::noinline]] void split_next() {
        split_pair(row_, first_, out_);
        if (second_ > 0) split_pair(row_ + tile_side, second_, out_ + apart_);
        depth_ -= at_most(depth_, 2);
        row_ += 2 * ld_;
        out_ += tile_depth;
        if (++pair_ % tile_side == 0) out_ += (split_parts - 1) * tile_elements;
    }

private:
    FUSEDNET_INLINE void split_pair(const float* row, size_t columns, BFloat16* out) {
        constexpr size_t lead = 12;  // rows
        split_right_pair(row, ld_, depth_ > 0 ? columns : 0, depth_ > 1 ? columns : 0, out, finite_);
        for (size_t i = lead; i < lead + 2; ++i) __builtin_prefetch(row + i * ld_);
    }

    const float* row_;
    size_t ld_, depth_, first_, second_, apart_;
    BFloat16* out_;
    size_t pair_ = 0;
    Finite finite_;
};

constexpr size_t products = 6;  // of a step: those of two parts each

// Units that are split a few at a time after each of the products of some blocks.
template <class Units>
class SplitAhead {
public:
    explicit SplitAhead(const Units& units) : units_(units), left_(units.count()) {}

    // Spreads them over so many blocks of so many steps.
    void spread(size_t blocks, size_t steps) { each_ = tiles_of(left_, products * blocks * steps); }
    FUSEDNET_INLINE void next() { split(at_most(each_, left_)); }
    void finish(Finite& finite) {
        split(left_);
        finite.add(units_.finite());
    }

private:
    FUSEDNET_INLINE void split(size_t count) {
        left_ -= count;
        for (; count > 0; --count) units_.split_next();
    }

    Units units_;
    size_t left_, each_ = 0;
};

template <class Units>
void split_all(const Units& units, Finite& finite) {
    SplitAhead<Units>(units).finish(finite);
}

}  // namespace fusednet::FUSEDNET_SET
