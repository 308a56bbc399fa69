// Matrices of float32 as sums of three matrices of bfloat16, whose products AMX adds up in float32: x = high + middle +
// low, to the last bit, as bfloat16 has the exponents of float32 and a third of its digits. Of the nine products of two
// such sums six count; the others are smaller than the rounding of a product in float32: Henry, Tang and Heinecke,
// "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", ARITH 2019.
#pragma once

#include "amx_tiles.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t split_parts = 3;

using Floats = Vec<float>;
using Bits = Words<float>;

// The parts of each element, in the upper halves of words.
struct Split {
    Bits part[split_parts];
};

// Whether what was split has been finite: not infinite, not NaN, and not so large that bfloat16 has no such number.
class Finite {
public:
    FUSEDNET_INLINE void add(Floats low) { sum_ += low - low; }  // NaN where the last part is
    FUSEDNET_INLINE void add(const Finite& other) { sum_ += other.sum_; }
    bool all() const { return sum_lanes<float>(sum_) == 0; }

private:
    Floats sum_{};
};

FUSEDNET_INLINE Floats round_to_part(Floats x) { return (Floats)(((Bits)x + 0x8000U) & 0xffff0000U); }

FUSEDNET_INLINE Split split(Floats x, Finite& finite) {
    const Floats high = round_to_part(x), rest = x - high, middle = round_to_part(rest), low = rest - middle;
    finite.add(low);
    return {{(Bits)high, (Bits)middle, (Bits)low}};
}

// A row of the tiles of a left factor, one tile for each part: 32 elements, of which up to 16 and 16 are there, zeros
// beyond.
FUSEDNET_INLINE void split_left_row(const float* row, size_t first, size_t second, BFloat16* out, Finite& finite) {
    const Split a = split(load_partial(row, first), finite);
    const Split b = split(load_partial(row + lanes<float>, second), finite);
    for (size_t p = 0; p < split_parts; ++p) store(out + p * tile_elements, upper_halves(a.part[p], b.part[p]));
}

// A row of those of a right factor: two of its rows by pairs of elements. (The last part of a number near the least
// ones has digits in the lower half of its word.)
FUSEDNET_INLINE void split_right_pair(const float* row, size_t ld, size_t first, size_t second, BFloat16* out,
                                      Finite& finite) {
    const Split a = split(load_partial(row, first), finite), b = split(load_partial(row + ld, second), finite);
    for (size_t p = 0; p < split_parts; ++p)
        store(out + p * tile_elements, a.part[p] >> 16 | (b.part[p] & 0xffff0000U));
}

// Up to so many rows and columns of a matrix.
struct Piece {
    const float* data;
    size_t ld, rows, columns;
};

// out (16, ldo) = x (16, 16)ᵀ, with zeros beyond the piece, which has no more.
FUSEDNET_INLINE void transpose_piece(Piece x, float* out, size_t ldo) {
    alignas(64) float padded[tile_side * tile_side];
    if (x.rows < tile_side || x.columns < tile_side) {
        for (size_t i = 0; i < tile_side; ++i)
            store(padded + i * tile_side, i < x.rows ? load_partial(x.data + i * x.ld, x.columns) : Floats{});
        x.data = padded;
        x.ld = tile_side;
    }
    for (size_t j = 0; j < tile_side; j += block_columns<float>) transpose_block(x.data + j, x.ld, out + j * ldo, ldo);
}

// The tiles of the transposed piece, of up to 32 rows and 16 columns, as a left factor.
inline void split_left_transposed(const Piece& x, BFloat16* out, Finite& finite) {
    alignas(64) float turned[tile_side * tile_depth];
    const size_t first = at_most(x.rows, tile_side);
    transpose_piece({x.data, x.ld, first, x.columns}, turned, tile_depth);
    transpose_piece({x.data + first * x.ld, x.ld, x.rows - first, x.columns}, turned + tile_side, tile_depth);
    Finite found;
    for (size_t i = 0; i < tile_side; ++i)
        split_left_row(turned + i * tile_depth, tile_side, tile_side, out + i * tile_depth, found);
    finite.add(found);
}

// Those of the transposed piece, of up to 16 rows and 32 columns, as a right factor.
inline void split_right_transposed(const Piece& x, BFloat16* out, Finite& finite) {
    alignas(64) float turned[tile_side * tile_depth];
    const size_t first = at_most(x.columns, tile_side);
    transpose_piece({x.data, x.ld, x.rows, first}, turned, tile_side);
    transpose_piece({x.data + first, x.ld, x.rows, x.columns - first}, turned + tile_side * tile_side, tile_side);
    Finite found;
    for (size_t i = 0; i < tile_side; ++i)
        split_right_pair(turned + 2 * i * tile_side, tile_side, tile_side, tile_side, out + i * tile_depth, found);
    finite.add(found);
}

}  // namespace fusednet::FUSEDNET_SET
