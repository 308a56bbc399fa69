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
    const Depth n(g.n);
    auto* const first = reinterpret_cast<BFloat16*>(g.scratch);
    BFloat16* const w_tiles[] = {first, first + tiled_elements(block_side, n.tiled)};
    BFloat16* const dz_tiles = first + 2 * tiled_elements(block_side, n.tiled);
    Turned turned;
    split_all(TransposedUnits<Factor::right>(g.dz, g.lddz, g.m, n.tiled, dz_tiles, turned), finite);
    const Tiled dz{dz_tiles, tiles_of(n.tiled, tile_depth)};
    alignas(64) float rest_dz[Depth::most_rest * most_block_rows];  // transposed
    for (size_t s = 0; s < n.rest; ++s)
        for (size_t i = 0; i < tiles_of(g.m, tile_side) * tile_side; ++i)
            rest_dz[s * most_block_rows + i] = i < g.m ? g.dz[i * g.lddz + n.tiled + s] : 0.0F;
    const RestOfDepth rest{g.w + n.tiled, g.ldw, 1, rest_dz, most_block_rows, n.rest};
    const auto block = [&](size_t k, size_t turn) {
        return DirectUnits<Factor::left>(g.w + k * g.ldw, g.ldw, at_most(g.k - k, block_side), n.tiled,
                                         w_tiles[turn % 2]);
    };
    split_all(block(0, 0), finite);
    MultiplyAdd one_more;
    for (size_t k = 0, turn = 0; k < g.k; k += block_side, ++turn) {
        const size_t valid = at_most(g.k - k, block_side), rows = tiles_of(valid, tile_side), height = rows * tile_side;
        const Tiled w{w_tiles[turn % 2], dz.steps};
        const bool more = k + block_side < g.k;
        Beside<DirectUnits<Factor::left>> next(block(more ? k + block_side : k, turn + 1));
        if (more) next.spread(tiles_of(g.m, block_side), dz.steps);
        for_each_side(g.m, [&](size_t j, size_t columns) {
            BlockSums sums;
            read_beside_block(g.ahead, dz.steps);
            multiply_block(w, 0, rows, dz, j, columns, sums, next, one_more);
            add_rest(rest.from(k, j * tile_side), valid, columns, sums.at, block_side);
            for (size_t c = 0; c < columns; ++c) {
                const size_t row = (j + c) * tile_side;
                for (size_t r = 0; r < height; r += tile_side)
                    store_transposed(sums.at + r * block_side + c * tile_side, g.dx + row * g.lddx + k + r, g.lddx,
                                     at_most(g.m - row, tile_side));
            }
        });
        if (more) finite.add(next.finish().finite());
        differentiate_columns(g, k, height);
    }
}

// The last columns of dX, if they are narrow_columns: AVX-512's kernels have dot products for as few as that.
inline void amx_input_gradient_narrow(InputGradient<float> g, size_t columns) {
    const size_t first = g.k - columns;
    g.w += first * g.ldw;
    g.dx += first;
    if (g.saved != nullptr) g.saved += first;
    if (g.mask != nullptr) g.mask += first;
    g.k = columns;
    float_kernels.input_gradient(g);
}

inline void amx_input_gradient(const InputGradient<float>& g) {
    if (!suits_tiles(g)) return float_kernels.input_gradient(g);
    const size_t narrow = narrow_columns<float>(g.k);
    if (narrow > 0) amx_input_gradient_narrow(g, narrow);
    InputGradient<float> part = g;
    part.k -= narrow;
    if (part.k == 0) return;
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
