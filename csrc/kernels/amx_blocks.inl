// Blocks of sums of products by the tiles of AMX: up to two tiles by two.
#pragma once

#include "amx_split_units.inl"
#include "prefetch.inl"
#include "tile_steps.inl"

namespace fusednet::avx512 {

extern const KernelTable<float> float_kernels;

}  // namespace fusednet::avx512

namespace fusednet::FUSEDNET_SET {

using avx512::float_kernels;  // for what is too small, and what isn't finite

// What is smaller is not worth the splitting: rows of a batch, the depth and the columns of a product. (Of the whole
// batch, and of all of W: the bits must not depend on where they were cut.)
constexpr size_t tiled_rows = 48, tiled_depth = 48, tiled_width = 96;

template <int part, size_t tiles>
FUSEDNET_INLINE void load_left(const BFloat16* a, size_t apart) {
    load_tile<4>(a + part * tile_elements, 64);
    if constexpr (tiles > 1) load_tile<5>(a + apart + part * tile_elements, 64);
}

template <int part, size_t tiles>
FUSEDNET_INLINE void load_right(const BFloat16* b, size_t apart) {
    load_tile<6>(b + part * tile_elements, 64);
    if constexpr (tiles > 1) load_tile<7>(b + apart + part * tile_elements, 64);
}

template <size_t rows, size_t columns, class... Work>
FUSEDNET_INLINE void multiply_parts(Work&... work) {
    multiply_tiles<0, 4, 6>();
    if constexpr (columns > 1) multiply_tiles<1, 4, 7>();
    if constexpr (rows > 1) multiply_tiles<2, 5, 6>();
    if constexpr (rows > 1 && columns > 1) multiply_tiles<3, 5, 7>();
    (work.next(), ...);
}

// The sums in tiles 0 to 3, of so many tiles by rows and columns. Each product shares a part with the one before it;
// while it is computed, which takes long after it has begun, there is time for some work (Beside).
template <size_t rows, size_t columns, class... Work>
FUSEDNET_INLINE void multiply_steps(const Tiled& left, size_t i, const Tiled& right, size_t j, Work&... besides) {
    const BFloat16 *a = left.tile(i), *b = right.tile(j);
    const size_t apart = left.steps * split_parts * tile_elements;
    const auto with_copies = [&](auto... work) FUSEDNET_ALWAYS_INLINE {
        for (size_t s = 0; s < left.steps; ++s, a += split_parts * tile_elements, b += split_parts * tile_elements) {
            load_left<2, rows>(a, apart);
            load_right<0, columns>(b, apart);
            multiply_parts<rows, columns>(work...);
            load_left<1, rows>(a, apart);
            multiply_parts<rows, columns>(work...);
            load_right<1, columns>(b, apart);
            multiply_parts<rows, columns>(work...);
            load_left<0, rows>(a, apart);
            multiply_parts<rows, columns>(work...);
            load_right<0, columns>(b, apart);
            multiply_parts<rows, columns>(work...);
            load_right<2, columns>(b, apart);
            multiply_parts<rows, columns>(work...);
        }
        ((besides = work), ...);
    };
    with_copies(besides...);
}

// body(rows, columns) for the tiles of a block, as constants.
template <class Body>
FUSEDNET_INLINE void with_block(size_t rows, size_t columns, const Body& body) {
    with_count<1, block_tiles>(rows, [&](auto r) FUSEDNET_ALWAYS_INLINE {
        with_count<1, block_tiles>(columns, [&](auto c) FUSEDNET_ALWAYS_INLINE { body(r, c); });
    });
}

// body(tile, row, column) for each.
template <size_t rows, size_t columns, class Body>
FUSEDNET_INLINE void for_each_tile(const Body& body) {
    body(Count<0>{}, 0, 0);
    if constexpr (columns > 1) body(Count<1>{}, 0, tile_side);
    if constexpr (rows > 1) body(Count<2>{}, tile_side, 0);
    if constexpr (rows > 1 && columns > 1) body(Count<3>{}, tile_side, tile_side);
}

template <size_t rows, size_t columns>
FUSEDNET_INLINE void store_block(float* c, size_t ldc) {
    for_each_tile<rows, columns>(
        [=](auto tile, size_t i, size_t j) { store_tile<tile.n>(c + i * ldc + j, ldc * sizeof(float)); });
}

struct alignas(64) BlockSums {
    float at[block_side * block_side];
};

// The depth of a product: what goes by tiles, and a few last steps that are not worth a tile.
struct Depth {
    static constexpr size_t most_rest = 8;

    explicit Depth(size_t depth)
        : rest(depth % tile_depth <= most_rest ? depth % tile_depth : 0), tiled(depth - rest) {}

    size_t rest, tiled;
};

// The factors of those: the left one's elements so far apart by its rows and by the steps, the right one's rows as they
// are, with room for whole tiles.
struct RestOfDepth {
    const float* left;
    size_t row, step;
    const float* right;
    size_t ldr, depth;

    RestOfDepth from(size_t i, size_t j) const { return {left + i * row, row, step, right + j, ldr, depth}; }
};

// c (rows, tiles) += their products. (Sums that began with them would wait for c to be stored.)
inline void add_rest(const RestOfDepth& rest, size_t rows, size_t tiles, float* c, size_t ldc) {
    if (rest.depth == 0) return;
    with_count<1, block_tiles>(tiles, [&](auto columns) {
        for (size_t i = 0; i < rows; ++i, c += ldc) {
            Floats sum[columns.n];
            for (size_t j = 0; j < columns.n; ++j) sum[j] = load(c + j * tile_side);
            const float *x = rest.left + i * rest.row, *line = rest.right;
            for (size_t s = 0; s < rest.depth; ++s, x += rest.step, line += rest.ldr)
                for (size_t j = 0; j < columns.n; ++j) sum[j] = fma(broadcast(*x), load(line + j * tile_side), sum[j]);
            for (size_t j = 0; j < columns.n; ++j) store(c + j * tile_side, sum[j]);
        }
    });
}

// The sums of a block, from zero.
template <class... Work>
FUSEDNET_INLINE void multiply_block(const Tiled& left, size_t i, size_t rows, const Tiled& right, size_t j,
                                    size_t columns, BlockSums& sums, Work&... work) {
    with_block(rows, columns, [&](auto r, auto c) FUSEDNET_ALWAYS_INLINE {
        for_each_tile<r.n, c.n>([](auto tile, size_t, size_t) { clear_tile<tile.n>(); });
        multiply_steps<r.n, c.n>(left, i, right, j, work...);
        store_block<r.n, c.n>(sums.at, block_side);
    });
}

// Rows to be read, as many of them as come with a block of so many steps.
inline void read_beside_block(ReadAhead* rows, size_t steps) {
    const size_t flops = 2 * block_side * block_side * tile_depth * steps;
    const size_t bursts = are_many(rows) ? flops / rows->flops + 1 : 1;
    for (size_t i = 0; i < bursts; ++i) read_ahead(rows);
}

// body(first, tiles) by blocks of so many rows or columns.
template <class Body>
FUSEDNET_INLINE void for_each_side(size_t n, const Body& body) {
    const size_t tiles = tiles_of(n, tile_side);
    for (size_t i = 0; i < tiles; i += block_tiles) body(i, at_most(tiles - i, block_tiles));
}

}  // namespace fusednet::FUSEDNET_SET
