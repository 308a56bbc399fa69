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

// A factor of up to a block, as it lies: rows of a left one, columns of a right one. A unit is a row of the tiles of a
// step.
template <Factor factor>
class DirectUnits {
public:
    DirectUnits(const float* x, size_t ld, size_t side, size_t depth, BFloat16* out)
        : line_(x), ld_(ld), side_(side), depth_(depth), apart_(tiled_elements(tile_side, depth)), out_(out) {}

    size_t count() const { return tiles_of(depth_, tile_depth) * tile_side; }
    const Finite& finite() const { return finite_; }

    // Most units are whole, and what changes is in registers: the fewer instructions there are between two products,
    // the farther ahead the processor sees them.
    FUSEDNET_INLINE void next() {
        if (__builtin_expect(side_ == block_side && depth_ >= tile_depth, true)) {
            split_whole();
        } else {
            finite_.add(split_edge(*this));
        }
        line_ += ld_;
        out_ += tile_depth;
        if (++row_ < tile_side) return;
        row_ = 0;
        line_ += tile_depth * step() - tile_side * ld_;
        out_ += (split_parts - 1) * tile_elements;
        depth_ = remaining(depth_, tile_depth);
    }

private:
    static constexpr bool left = factor == Factor::left;

    // From an element to the next of the depth, and of the side.
    size_t step() const { return left ? 1 : ld_; }
    size_t beside() const { return left ? ld_ : 1; }

    FUSEDNET_INLINE void split_whole() {
        // Of W's rows a few ahead: farther, where they are 4 KiB apart, they would be too many for a set of a cache.
        constexpr size_t lead = 4;
        const size_t ahead = left ? 2 * tile_depth : (row_ < tile_side - lead ? lead : tile_side + lead) * ld_;
        const size_t second = tile_side * step();
#pragma GCC unroll 2
        for (size_t i = 0; i < block_tiles; ++i) {
            const float* const x = line_ + i * tile_side * beside();
            __builtin_prefetch(x + ahead);
            __builtin_prefetch(x + second + ahead);
            split_pairs(load(x), load(x + second), out_ + i * apart_, finite_);
        }
    }
    // (By value: what another function had the address of could not be in registers.)
    [[gnu::noinline]] static Finite split_edge(const DirectUnits u) {
        Finite found;
        for (size_t i = 0; i < u.side_; i += tile_side) {
            const float* const x = u.line_ + i * u.beside();
            const Floats first = load_partial(x, u.present(i, 0));
            const Floats second = load_partial(x + tile_side * u.step(), u.present(i, tile_side));
            split_pairs(first, second, u.out_ + i / tile_side * u.apart_, found);
        }
        return found;
    }
    // How many elements there are of this row.
    size_t present(size_t i, size_t half) const {
        const size_t lines = left ? remaining(side_, i) : remaining(depth_, half);
        const size_t elements = left ? remaining(depth_, half) : remaining(side_, i);
        return row_ < lines ? at_most(elements, tile_side) : 0;
    }

    const float* line_;  // the next
    size_t ld_, side_, depth_, apart_;
    BFloat16* out_;
    size_t row_ = 0;
    Finite finite_;
};

// What is turned of a factor that lies the other way, a row for each step of a tile.
struct alignas(64) Turned {
    float at[tile_depth * tile_side];
};

// A factor that lies the other way: columns of a left one, rows of a right one. A unit is a part of a tile: some of it
// transposed, or, at last, some rows of what that gives.
template <Factor factor>
class TransposedUnits {
public:
    TransposedUnits(const float* x, size_t ld, size_t side, size_t depth, BFloat16* out, Turned& turned)
        : x_(x), ld_(ld), side_(side), depth_(depth), out_(out), turned_(&turned) {}

    size_t count() const { return tiles_of(side_, tile_side) * tiles_of(depth_, tile_depth) * units; }
    const Finite& finite() const { return finite_; }

    FUSEDNET_INLINE void next() {
        if (unit_ < transpositions) {
            transpose_next(*this);
        } else {
#pragma GCC unroll 2
            for (size_t r = 0; r < rows; ++r, out_ += tile_depth) {
                const float* const row = turned_->at + ((unit_ - transpositions) * rows + r) * tile_side;
                split_pairs(load(row), load(row + tile_side * tile_side), out_, finite_);
            }
        }
        if (++unit_ < units) return;
        unit_ = 0;
        out_ += (split_parts - 1) * tile_elements;
        step_ += tile_depth;
        if (step_ < depth_) return;
        step_ = 0;
        beside_ += tile_side;
    }

private:
    static constexpr bool left = factor == Factor::left;
    static constexpr size_t rows = 2, width = block_columns<float>;
    static constexpr size_t transpositions = tile_depth / width, units = transpositions + tile_side / rows;

    // (By value, as split_edge.)
    [[gnu::noinline]] static void transpose_next(const TransposedUnits u) {
        const size_t half = u.unit_ * width / tile_side * tile_side, column = u.unit_ * width % tile_side;
        const size_t i = left ? u.step_ + half : u.beside_, j = (left ? u.beside_ : u.step_ + half) + column;
        const size_t height = left ? u.depth_ : u.side_, length = left ? u.side_ : u.depth_;
        transpose_piece(u.x_ + i * u.ld_ + j, u.ld_, remaining(height, i), remaining(length, j),
                        u.turned_->at + (half + column) * tile_side);
    }

    const float* x_;
    size_t ld_, side_, depth_;
    BFloat16* out_;
    Turned* turned_;
    size_t beside_ = 0, step_ = 0, unit_ = 0;
    Finite finite_;
};

template <class Units>
void split_all(const Units& units, Finite& finite) {
    finite.add(Beside<Units>(units).finish().finite());
}

}  // namespace fusednet::FUSEDNET_SET
