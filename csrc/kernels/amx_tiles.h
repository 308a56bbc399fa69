// The tiles of AMX: eight registers of up to 16 rows of 64 bytes, and products of bfloat16 added up in float32 (Intel,
// "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18). By assembly, since compilers'
// intrinsics don't tell that tiles read memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel_table.h"

namespace fusednet::FUSEDNET_SET {

constexpr std::size_t tile_side = 16;  // rows of a tile, and float32 or pairs of bfloat16 in one
constexpr std::size_t tile_depth = 2 * tile_side;
constexpr std::size_t tile_elements = tile_side * tile_depth;  // of bfloat16
using BFloat16 = std::uint16_t;

// All eight tiles as large as they come, for as long as it lives: after that the operating system need not keep them.
class Tiles {
public:
    Tiles() {
        struct {
            std::uint8_t palette, start_row, reserved[14];
            std::uint16_t row_bytes[16];
            std::uint8_t rows[16];
        } shape{};
        shape.palette = 1;
        for (int i = 0; i < 8; ++i) {
            shape.row_bytes[i] = 64;
            shape.rows[i] = tile_side;
        }
        __asm__ volatile("ldtilecfg %0" : : "m"(shape));
    }
    ~Tiles() { __asm__ volatile("tilerelease"); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
};

// `stride`: bytes between rows, 0 for the same one.
template <int tile>
FUSEDNET_INLINE void load_tile(const void* p, std::size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(tile) : "memory");
}

template <int tile>
FUSEDNET_INLINE void store_tile(void* p, std::size_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(tile) : "memory");
}

template <int tile>
FUSEDNET_INLINE void clear_tile() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile));
}

// sum (16, 16) += a (16, 32) · b, whose row i has rows 2i and 2i + 1 of a factor (32, 16) by pairs.
template <int sum, int a, int b>
FUSEDNET_INLINE void multiply_tiles() {
    __asm__ volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" : : "i"(b), "i"(a), "i"(sum));
}

}  // namespace fusednet::FUSEDNET_SET
