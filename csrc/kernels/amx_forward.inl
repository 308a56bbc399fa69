// A dense layer's output by the tiles of AMX. W is split a panel at a time, while the panel before it is multiplied.
#pragma once

#include "amx_blocks.inl"
#include "matmul.inl"

namespace fusednet::FUSEDNET_SET {

static_assert(block_side == panel_columns<float>);  // W may be cut at those, and narrow_columns are what is left

// The rows of a call, and the depth, go by so many: the tiles of all these rows stay in the second-level cache, and two
// panels of W beside them. (Fewer steps read and write each sum more often.)
constexpr size_t forward_rows = 256, forward_depth = 256;
constexpr size_t x_elements = tiled_elements(forward_rows, forward_depth),
                 w_elements = tiled_elements(block_side, forward_depth);

inline size_t amx_panel_size(size_t depth) {
    const size_t plain = float_kernels.panel_size(depth);
    if (depth < tiled_depth) return plain;
    constexpr size_t wanted = (x_elements + 2 * w_elements) * sizeof(BFloat16) / sizeof(float);
    const size_t narrow = plain + depth * piece<float>;
    return wanted > narrow ? wanted : narrow;
}

inline bool suits_tiles(const DenseForward<float>& f) {
    const size_t batch = f.m > f.batch ? f.m : f.batch;
    return !f.continued && batch >= tiled_rows && f.k >= tiled_depth && f.ldw >= tiled_width;
}

// A block of Y, from the bias or from what it is.
template <size_t rows, size_t columns, class Work>
FUSEDNET_INLINE void forward_block(const Tiled& left, size_t i, const Tiled& right, const float* bias, float* y,
                                   size_t ldy, size_t valid, Work& work) {
    BlockSums edge;
    float* c = y;
    size_t ldc = ldy;
    const bool inside = valid >= rows * tile_side;
    if (!inside) {
        c = edge.at;
        ldc = block_side;
        for (size_t r = 0; bias == nullptr && r < valid; ++r)
            for (size_t j = 0; j < columns * tile_side; j += lanes<float>)
                store(c + r * ldc + j, load(y + r * ldy + j));
    }
    for_each_tile<rows, columns>([=](auto tile, size_t r, size_t j) {
        bias != nullptr ? load_tile<tile.n>(bias + j, 0) : load_tile<tile.n>(c + r * ldc + j, ldc * sizeof(float));
    });
    multiply_steps<rows, columns>(left, i, right, 0, work);
    store_block<rows, columns>(c, ldc);
    for (size_t r = 0; !inside && r < valid; ++r)
        for (size_t j = 0; j < columns * tile_side; j += lanes<float>) store(y + r * ldy + j, load(c + r * ldc + j));
}

// The last steps of the depth, of some columns of Y.
inline void forward_rest(const DenseForward<float>& f, const Depth& k, size_t column, size_t columns) {
    alignas(64) float w[Depth::most_rest * block_side];
    for (size_t s = 0; s < k.rest; ++s)
        for (size_t j = 0; j < columns; j += lanes<float>)
            store(w + s * block_side + j,
                  load_partial(f.w + (k.tiled + s) * f.ldw + column + j, at_most(f.n - column - j, lanes<float>)));
    add_rest({f.x + k.tiled, f.ldx, 1, w, block_side, k.rest}, f.m, columns / tile_side, f.y + column, f.ldy);
}

inline void forward_by_tiles(const DenseForward<float>& f, Finite& finite) {
    const Tiles configured;
    auto* const x_tiles = reinterpret_cast<BFloat16*>(f.panel);
    BFloat16* const w_tiles[] = {x_tiles + x_elements, x_tiles + x_elements + w_elements};
    const Depth k(f.k);
    const auto panel = [&](size_t p, size_t j, size_t turn) {
        return DirectUnits<Factor::right>(f.w + p * f.ldw + j, f.ldw, at_most(f.n - j, block_side),
                                          at_most(k.tiled - p, forward_depth), w_tiles[turn % 2]);
    };
    split_all(panel(0, 0, 0), finite);
    for (size_t p = 0, turn = 0; p < k.tiled; p += forward_depth) {
        const size_t depth = at_most(k.tiled - p, forward_depth);
        const Tiled x{x_tiles, tiles_of(depth, tile_depth)};
        for (size_t i = 0; i < f.m; i += block_side) {
            BFloat16* const out = x_tiles + i / tile_side * tiled_elements(tile_side, depth);
            split_all(DirectUnits<Factor::left>(f.x + i * f.ldx + p, f.ldx, at_most(f.m - i, block_side), depth, out),
                      finite);
        }
        for (size_t j = 0; j < f.n; j += block_side, ++turn) {
            const size_t columns = tiles_of(at_most(f.n - j, block_side), tile_side), width = columns * tile_side;
            const Tiled w{w_tiles[turn % 2], x.steps};
            const bool below = j + block_side >= f.n, more = !below || p + depth < k.tiled;
            Beside<DirectUnits<Factor::right>> next(!more   ? panel(p, j, turn + 1)
                                                    : below ? panel(p + depth, 0, turn + 1)
                                                            : panel(p, j + block_side, turn + 1));
            if (more) next.spread(tiles_of(f.m, block_side), x.steps);
            alignas(64) float edge[block_side];
            for (size_t i = 0; p == 0 && i < width; i += lanes<float>) {
                const size_t left = at_most(f.n - j - i, lanes<float>);
                store(edge + i, f.bias != nullptr ? load_partial(f.bias + j + i, left) : Floats{});
            }
            for_each_side(f.m, [&](size_t i, size_t rows) {
                const size_t first = i * tile_side;
                read_beside_block(f.ahead, x.steps);
                with_block(rows, columns, [&](auto r, auto c) {
                    forward_block<r.n, c.n>(x, i, w, p == 0 ? edge : nullptr, f.y + first * f.ldy + j, f.ldy,
                                            f.m - first, next);
                });
            });
            if (more) finite.add(next.finish().finite());
            if (p + depth < k.tiled) continue;
            forward_rest(f, k, j, width);
            activate_columns(f, j, f.m, width);
        }
    }
}

// The last columns, if they are narrow_columns, as a layer of their own. Of one or two AVX-512's kernels then take dot
// products, which repay the copy (6 and 4 % of 64 rows by 129 and 130 wide); three or four do not feel it.
inline void forward_narrow(DenseForward<float> f, size_t columns) {
    float* const w = f.panel + float_kernels.panel_size(f.k);
    const size_t first = f.n - columns;
    for (size_t p = 0; p < f.k; ++p)
        for (size_t j = 0; j < columns; ++j) w[p * columns + j] = f.w[p * f.ldw + first + j];
    f.w = w;
    f.ldw = f.n = columns;
    f.y += first;
    if (f.bias != nullptr) f.bias += first;
    if (f.derivative != nullptr) f.derivative += first;
    float_kernels.dense_forward(f);
}

inline void amx_dense_forward(const DenseForward<float>& f) {
    if (!suits_tiles(f)) return float_kernels.dense_forward(f);
    const size_t narrow = narrow_columns<float>(f.n);
    if (narrow > 0) forward_narrow(f, narrow);
    DenseForward<float> part = f;
    part.n -= narrow;
    if (part.n == 0) return;
    for (size_t i = 0; i < f.m; i += part.m, part.x += part.m * f.ldx, part.y += part.m * f.ldy) {
        part.m = at_most(f.m - i, forward_rows);
        part.derivative = f.derivative != nullptr ? f.derivative + i * f.ldy : nullptr;
        Finite finite;
        forward_by_tiles(part, finite);
        if (!finite.all()) float_kernels.dense_forward(part);
    }
}

}  // namespace fusednet::FUSEDNET_SET
