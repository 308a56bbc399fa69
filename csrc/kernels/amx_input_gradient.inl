// The gradient of a dense layer's input by the tiles of AMX, transposed: dXᵀ = W · dZᵀ, as W, which is large, can be
// split as it lies. Some of its rows are split while those before them are multiplied.
#pragma once

#include "amx_blocks.inl"
#include "input_gradient.inl"

namespace fusednet::FUSEDNET_SET {

inline size_t amx_input_scratch(size_t m, size_t n) {
    const size_t plain = float_kernels.input_scratch(m, n);
    const size_t tiles = tiled_elements(at_most(m, most_block_rows), n) + 2 * tiled_elements(block_side, n);
    const size_t wanted = tiles * sizeof(BFloat16) / sizeof(float);
    return n >= tiled_width && wanted > plain ? wanted : plain;
}

inline bool suits_tiles(const InputGradient<float>& g) {
    const size_t batch = g.m > g.batch ? g.m : g.batch;
    return batch >= tiled_rows && g.lddx >= tiled_width && g.n >= tiled_width;
}

// dx (valid, 16 columns) = a tile's sums, transposed.
FUSEDNET_INLINE void store_transposed(const float* sums, float* dx, size_t lddx, size_t valid) {
    for (size_t i = 0; i < valid; i += block_columns<float>) {
        if (i + block_columns<float> <= valid) {
            transpose_block(sums + i, block_side, dx + i * lddx, lddx);
        } else {
            float last[block_columns<float> * lanes<float>];
            transpose_block(sums + i, block_side, last, lanes<float>);
            for (size_t r = i; r < valid; ++r) store(dx + r * lddx, load(last + (r - i) * lanes<float>));
        }
    }
}

inline void input_gradient_by_tiles(const InputGradient<float>& g, Finite& finite) {
    const Tiles configured;
    auto* const first = reinterpret_cast<BFloat16*>(g.scratch);
    BFloat16* const w_tiles[] = {first, first + tiled_elements(block_side, g.n)};
    const Tiled dz = split_tiles(first + 2 * tiled_elements(block_side, g.n), g.m, g.n,
                                 [&](size_t i, size_t rows, size_t q, size_t depth, BFloat16* out) {
                                     split_right_transposed({g.dz + i * g.lddz + q, g.lddz, rows, depth}, out, finite);
                                 });
    const auto block = [&](size_t k, size_t turn) {
        return LeftUnits(g.w + k * g.ldw, g.ldw, at_most(g.k - k, block_side), g.n, w_tiles[turn % 2]);
    };
    split_all(block(0, 0), finite);
    for (size_t k = 0, turn = 0; k < g.k; k += block_side, ++turn) {
        const size_t rows = tiles_of(at_most(g.k - k, block_side), tile_side), height = rows * tile_side;
        const Tiled w{w_tiles[turn % 2], dz.steps};
        const bool more = k + block_side < g.k;
        SplitAhead<LeftUnits> next(block(more ? k + block_side : k, turn + 1));
        if (more) next.spread(tiles_of(g.m, block_side), dz.steps);
        for_each_side(g.m, [&](size_t j, size_t columns) {
            BlockSums sums;
            read_beside_block(g.ahead, dz.steps);
            multiply_block(w, 0, rows, dz, j, columns, sums, next);
            for (size_t c = 0; c < columns; ++c) {
                const size_t row = (j + c) * tile_side;
                for (size_t r = 0; r < height; r += tile_side)
                    store_transposed(sums.at + r * block_side + c * tile_side, g.dx + row * g.lddx + k + r, g.lddx,
                                     at_most(g.m - row, tile_side));
            }
        });
        if (more) next.finish(finite);
        differentiate_columns(g, k, height);
    }
}

inline void amx_input_gradient(const InputGradient<float>& g) {
    if (!suits_tiles(g)) return float_kernels.input_gradient(g);
    InputGradient<float> part = g;
    for (size_t i = 0; i < g.m; i += part.m, part.dz += part.m * g.lddz, part.dx += part.m * g.lddx) {
        part.m = at_most(g.m - i, most_block_rows);
        part.saved = g.saved != nullptr ? g.saved + i * g.lds : nullptr;
        part.mask = g.mask != nullptr ? g.mask + i * g.lds : nullptr;
        Finite finite;
        input_gradient_by_tiles(part, finite);
        if (!finite.all()) float_kernels.input_gradient(part);
    }
}

}  // namespace fusednet::FUSEDNET_SET
