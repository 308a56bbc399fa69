// Matrices of float32 as sums of three matrices of bfloat16, whose products AMX adds up in float32: x = high + middle +
// low, to the last bit, as bfloat16 has the exponents of float32 and a third of its digits. Of the nine products of two
// such sums six count; the others are smaller than the rounding of a product in float32: Henry, Tang and Heinecke,
// "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", ARITH 2019.
#pragma once

#include "amx_tiles.h"
#include "arithmetic.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t split_parts = 3;

using Floats = Vec<float>;
using Bits = Words<float>;

// Whether what was split has been finite: not infinite, not NaN, and not so large that bfloat16 has no such number.
class Finite {
public:
    FUSEDNET_INLINE void add(Floats low) { sum_ = fma(low, Floats{}, sum_); }  // NaN where the last part is
    FUSEDNET_INLINE void add(const Finite& other) { sum_ += other.sum_; }
    bool all() const { return sum_lanes<float>(sum_) == 0; }

private:
    Floats sum_{};
};

// The parts of each element, in the upper halves of words. The first is rounded, so that the others have any sign; what
// that leaves has no more digits than two parts. (The last part of a number near the least ones has some in the lower
// half of its word.)
struct Split {
    Bits part[split_parts];
};

constexpr std::uint32_t upper_half = 0xffff0000U;

FUSEDNET_INLINE Split split(Floats x, Finite& finite) {
    const Floats high = (Floats)(((Bits)x + 0x8000U) & upper_half), rest = x - high;
    const Floats middle = (Floats)((Bits)rest & upper_half), low = rest - middle;
    finite.add(low);
    return {{(Bits)high, (Bits)middle, (Bits)low}};
}

// The upper half of a below that of b. (Compilers take three instructions.)
FUSEDNET_INLINE Bits pair_halves(Bits a, Bits b) {
    constexpr int a_or_b_and_c = 0xf8;
    return (Bits)_mm512_ternarylogic_epi32((__m512i)(a >> 16), (__m512i)b, _mm512_set1_epi32(int(upper_half)),
                                           a_or_b_and_c);
}

// A row of three tiles, one for each part: pairs of one element of a and one of b. Two factors may pair their steps as
// they like, if they agree: each step goes with the one that stands half a tile on.
FUSEDNET_INLINE void split_pairs(Floats a, Floats b, BFloat16* out, Finite& finite) {
    const Split first = split(a, finite), second = split(b, finite);
    for (size_t p = 0; p < split_parts; ++p) store(out + p * tile_elements, pair_halves(first.part[p], second.part[p]));
}

// out (8, 16) = x (16, 8)ᵀ, of which so many rows and columns are there, zeros beyond.
FUSEDNET_INLINE void transpose_piece(const float* x, size_t ld, size_t rows, size_t columns, float* out) {
    constexpr size_t width = block_columns<float>;
    if (rows >= tile_side && columns >= width) return transpose_block(x, ld, out, tile_side);
    float padded[tile_side * width + width];
    for (size_t i = 0; i < tile_side; ++i)
        store(padded + i * width, i < rows ? load_partial(x + i * ld, at_most(columns, width)) : Floats{});
    transpose_block(padded, width, out, tile_side);
}

}  // namespace fusednet::FUSEDNET_SET
