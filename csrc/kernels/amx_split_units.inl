// A factor is split little by little, by units: at once, or beside the products of what was split before.
#pragma once

#include "amx_beside.inl"
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

constexpr size_t remaining(size_t n, size_t done) { return n > done ? n - done : 0; }

enum class Factor { left, right };

// A factor of up to a block, as it lies: rows of a left one, columns of a right one. A unit is some rows of the tiles
// of a step.
template <Factor factor>
class DirectUnits {
public:
    DirectUnits(const float* x, size_t ld, size_t side, size_t depth, BFloat16* out)
        : x_(x), ld_(ld), side_(side), depth_(depth), apart_(tiled_elements(tile_side, depth)), out_(out) {}

    size_t count() const { return tiles_of(depth_, tile_depth) * (tile_side / rows); }
    const Finite& finite() const { return finite_; }

    [[gnu::noinline]] void next() {
        Finite found;
        const bool whole = side_ % tile_side == 0 && depth_ >= tile_depth;
        whole ? split_rows<true>(found) : split_rows<false>(found);
        finite_.add(found);
        row_ += rows;
        if (row_ < tile_side) return;
        row_ = 0;
        x_ += tile_depth * step();
        depth_ = remaining(depth_, tile_depth);
        out_ += split_parts * tile_elements;
    }

private:
    static constexpr bool left = factor == Factor::left;
    static constexpr size_t rows = left ? 2 : 1;

    // From an element to the next of the depth, and of the side.
    size_t step() const { return left ? 1 : ld_; }
    size_t beside() const { return left ? ld_ : 1; }

    template <bool whole>
    FUSEDNET_INLINE void split_rows(Finite& found) const {
        for (size_t i = 0; i < side_; i += tile_side) {
            for (size_t r = row_; r < row_ + rows; ++r) {
                const float* const first = x_ + i * beside() + r * ld_;
                const float* const second = first + tile_side * step();
                // In steps. (Rows of W farther ahead, where they are 4 KiB apart, would be too many for a set of a
                // cache.)
                const size_t lead = left ? 2 * tile_depth : r < tile_side - 4 ? 4 : tile_depth - tile_side + 4;
                __builtin_prefetch(first + lead * step());
                __builtin_prefetch(second + lead * step());
                const Floats a = whole ? load(first) : load_partial(first, present(i, r, 0));
                const Floats b = whole ? load(second) : load_partial(second, present(i, r, tile_side));
                split_pairs(a, b, out_ + i / tile_side * apart_ + r * tile_depth, found);
            }
        }
    }
    // How many elements there are from a row on.
    size_t present(size_t i, size_t r, size_t half) const {
        const size_t lines = left ? remaining(side_, i) : remaining(depth_, half);
        const size_t elements = left ? remaining(depth_, half) : remaining(side_, i);
        return r < lines ? at_most(elements, tile_side) : 0;
    }

    const float* x_;
    size_t ld_, side_, depth_, apart_;
    BFloat16* out_;
    size_t row_ = 0;
    Finite finite_;
};

// A factor that lies the other way: columns of a left one, rows of a right one. A unit is a part of a tile: some of it
// transposed, or, at last, some rows of what that gives.
template <Factor factor>
class TransposedUnits {
public:
    TransposedUnits(const float* x, size_t ld, size_t side, size_t depth, BFloat16* out)
        : x_(x), ld_(ld), side_(side), depth_(depth), out_(out) {}

    size_t count() const { return tiles_of(side_, tile_side) * tiles_of(depth_, tile_depth) * units; }
    const Finite& finite() const { return finite_; }

    [[gnu::noinline]] void next() {
        unit_ < transpositions ? transpose_next() : split_rows((unit_ - transpositions) * rows);
        if (++unit_ < units) return;
        unit_ = 0;
        out_ += split_parts * tile_elements;
        step_ += tile_depth;
        if (step_ < depth_) return;
        step_ = 0;
        beside_ += tile_side;
    }

private:
    static constexpr bool left = factor == Factor::left;
    static constexpr size_t rows = 8, width = block_columns<float>;
    static constexpr size_t transpositions = tile_depth / width, units = transpositions + tile_side / rows;

    FUSEDNET_INLINE void transpose_next() {
        const size_t half = unit_ * width / tile_side * tile_side, column = unit_ * width % tile_side;
        const size_t i = left ? step_ + half : beside_, j = (left ? beside_ : step_ + half) + column;
        const size_t height = left ? depth_ : side_, length = left ? side_ : depth_;
        transpose_piece(x_ + i * ld_ + j, ld_, remaining(height, i), remaining(length, j),
                        turned_ + (half + column) * tile_side);
    }
    FUSEDNET_INLINE void split_rows(size_t first) {
        Finite found;
        for (size_t r = first; r < first + rows; ++r) {
            const float* const row = turned_ + r * tile_side;
            split_pairs(load(row), load(row + tile_side * tile_side), out_ + r * tile_depth, found);
        }
        finite_.add(found);
    }

    const float* x_;
    size_t ld_, side_, depth_;
    BFloat16* out_;
    size_t beside_ = 0, step_ = 0, unit_ = 0;
    Finite finite_;
    alignas(64) float turned_[tile_depth * tile_side];
};

template <class Units>
void split_all(const Units& units, Finite& finite) {
    finite.add(Beside<Units>(units).finish().finite());
}

}  // namespace fusednet::FUSEDNET_SET
