// A dense layer's output, Y = f(X·W + b), cut into register tiles; and how its other products are cut.
#pragma once

#include "activations.inl"
#include "few_columns.inl"
#include "few_rows.inl"
#include "narrow_tile.inl"

namespace fusednet::FUSEDNET_SET {

// Elements of scratch for a panel that is a copy, or for columns that go by dot products.
template <class T>
size_t panel_size(size_t depth) {
    const size_t copy = at_most(depth, longest_block(halves ? long_depth_block : depth_block)) * panel_columns<T>;
    const size_t dots = masks ? dot_panel_size<T>(depth) : 0;
    return copy > dots ? copy : dots;
}

// body(TileColumns) for the width of a panel.
template <class T, class Body>
FUSEDNET_INLINE void with_columns(size_t width, const Body& body) {
    if constexpr (halves) {
        if (width < lanes<T>) return body(TileColumns<Half<T>, 1>{});
    }
    with_count<1, tile_vectors>(width / lanes<T>, [&](auto vectors) { body(TileColumns<Vec<T>, vectors.n>{}); });
}

// The least height of a tile that for_each_row_tile cuts from more than `tiles` * tile_rows rows. Whoever has so many
// needs no code for tiles that are lower: all heights together are most of what there is to compile.
constexpr size_t least_height(size_t tiles) { return (tiles * tile_rows + 1) / (tiles + 1); }

// Cuts m rows into ⌈m / most⌉ tiles of nearly equal height: 16 rows are 8 + 8, not 12 + 4.
template <size_t least, size_t most = tile_rows, class Body>
FUSEDNET_INLINE void for_each_row_tile(size_t m, const Body& body) {
    const size_t tiles = (m + most - 1) / most;
    const size_t low = tiles <= 1 ? m : m / tiles, higher = m - low * tiles;  // a division takes as long as some steps
    for (size_t t = 0, i = 0; t < tiles; ++t) {
        const size_t rows = low + (t < higher ? 1 : 0);
        with_count<least, most>(rows, [&](auto height) { body(i, height); });
        i += rows;
    }
}

// for_each_row_tile for products of that depth: a single step is less than a tile needs that ends by rows.
template <class Columns, class Body>
FUSEDNET_INLINE void for_each_product_tile(size_t m, size_t depth, const Body& body) {
    if constexpr (ends_by_rows<tile_rows, Columns>) {
        if (depth == 1) return for_each_row_tile<1, rows_at_once>(m, body);
    }
    for_each_row_tile<1>(m, body);
}

// Up to how many tiles of rows read W where it lies, as a copy would not pay. Fewer where its rows are so far apart
// that a block of them crowds into a few sets of the first-level cache, and lies on more pages than the processor has
// addresses of at hand; or where they start amid a line and vectors are as long as lines, so that each reaches over
// two. A Zen 4 or 5 has the time for the loads: however many, or several if each reaches over two lines.
constexpr size_t awkward_tiles = 1;
template <class T>
size_t unpacked_tiles(const DenseForward<T>& f) {
    constexpr size_t several = 8, all = ~size_t{0} / tile_rows;
    const bool misaligned = FUSEDNET_VECTOR_BYTES == cache_line && f.ldw % lanes<T> != 0;
    if (halves && f.zen != Zen::none) return misaligned ? several : all;
    return misaligned || f.ldw * sizeof(T) >= 2048 ? awkward_tiles : several;
}

// The usual rows of a panel that so many tiles read. What a second-level cache has no room for comes fastest in the
// order in which it lies: few tiles, which would wait for it, take some rows of all panels before the next. A Zen 4 or
// 5 with AVX-512 has the time for long blocks. (By a single tile a Zen 5 takes longer with those.)
template <class T>
size_t usual_block(const DenseForward<T>& f, size_t tiles) {
    if (f.zen == Zen::none) {
        constexpr size_t second_level_cache = size_t{1} << 20, rows_a_tile = 40;
        const size_t columns = at_most(4 * f.n, f.ldw);  // that this core reads: each of a team's has up to four parts
        const bool beyond = f.k * columns * sizeof(T) > second_level_cache;
        return beyond ? at_most(rows_a_tile * tiles, far_depth_block) : depth_block;
    }
    return halves && (f.zen == Zen::four || tiles > 1) ? long_depth_block : depth_block;
}

// C (m, columns) = max(start + A (m, depth) · B (depth, columns), floor), where start is null for C itself.
template <class T>
struct Product {
    const T* a;
    size_t lda;
    const T* b;
    size_t ldb;
    size_t m, depth;
    const T* start;
    T* c;
    size_t ldc;
    T floor;
};

// By the columns of a panel. Without one, B is used where it lies. Else, of more than awkward_tiles tiles, the first
// leaves a copy of B there for the others. `fetching`: what `ahead` has, and before a tile the results of the one
// below, which have been out of use for a block of the depth or since the last step.
template <bool fetching, class Columns, class T>
void product_panel(const Product<T>& p, T* panel, Prefetch<T>* ahead, ReadAhead* rows_ahead) {
    for_each_product_tile<Columns>(p.m, p.depth, [=](size_t i, auto height) {
        T* c = p.c + i * p.ldc;
        read_ahead(rows_ahead);
        if (fetching && i + height.n < p.m) fetch_rows<Columns::width, true>(c + height.n * p.ldc, p.ldc, height.n);
        if constexpr (height.n >= least_height(awkward_tiles)) {
            if (i == 0 && panel != nullptr) {
                return product_tile<true, fetching, height.n, Columns, T>(p.a, p.lda, p.b, p.ldb, p.depth, p.start, c,
                                                                          p.ldc, Floor<T>{p.floor}, panel, ahead);
            }
        }
        const bool packed = panel != nullptr;
        product_tile<false, fetching, height.n, Columns, T>(p.a + i * p.lda, p.lda, packed ? panel : p.b,
                                                            packed ? Columns::width : p.ldb, p.depth, p.start, c, p.ldc,
                                                            Floor<T>{p.floor}, nullptr, ahead);
    });
}

// By so many columns, a piece or fewer. (Only AVX-512 has the halves that it takes.)
template <class T>
void product_narrow(const Product<T>& p, size_t columns, T* panel, ReadAhead* rows_ahead) {
    pack_pairs(p.b, p.ldb, p.depth, columns, panel);
    for_each_row_tile<1>(p.m, [=](size_t i, auto height) {
        read_ahead(rows_ahead);
        product_narrow_tile<height.n>(p.a + i * p.lda, p.lda, panel, p.depth, p.start, p.c + i * p.ldc, p.ldc, p.floor,
                                      rows_ahead);
    });
}

// Few rows by less than a vector of columns, B in place: a copy would take longer than the product. By two chains where
// product_narrow has as many.
template <size_t chains, class T>
void product_partial(const Product<T>& p, size_t columns) {
    with_count<1, few_rows>(p.m, [&](auto rows) {
        Vec<T> acc[chains][rows.n] = {};
        const auto begin = [&](size_t i) {
            return p.start != nullptr ? load_partial(p.start, columns) : load(p.c + i * p.ldc);
        };
        for (size_t i = 0; chains == 1 && i < rows.n; ++i) acc[0][i] = begin(i);
        const auto advance = [&](size_t d, Vec<T>(&sum)[rows.n]) FUSEDNET_ALWAYS_INLINE {
            const Vec<T> line = load_partial(p.b + d * p.ldb, columns);
            for (size_t i = 0; i < rows.n; ++i) sum[i] = fma(broadcast(p.a[i * p.lda + d]), line, sum[i]);
        };
        size_t d = 0;
        for (; d + chains <= p.depth; d += chains) {
            for (size_t chain = 0; chain < chains; ++chain) advance(d + chain, acc[chain]);
        }
        if (d < p.depth) {
            advance(d, acc[0]);
            // As product_narrow_tile, whose last pair ends with zeros: −0 becomes 0.
            for (size_t i = 0; chains == 2 && i < rows.n; ++i) acc[chains - 1][i] += Vec<T>{};
        }
        for (size_t i = 0; i < rows.n; ++i) {
            const Vec<T> sum = chains == 1 ? acc[0][i] : begin(i) + (acc[0][i] + acc[chains - 1][i]);
            store(p.c + i * p.ldc, clamp_below(sum, p.floor));
        }
    });
}

// body(TileColumns, fetching) with both as constants.
template <class T, class Body>
FUSEDNET_INLINE void with_panel(const Panel<T>& panel, bool fetching, const Body& body) {
    with_columns<T>(panel.width, [&](auto columns) {
        if (fetching) {
            body(columns, Count<1>{});
        } else {
            body(columns, Count<0>{});
        }
    });
}

template <class T>
void activate_columns(const DenseForward<T>& f, size_t column, size_t rows, size_t columns) {
    if (f.activation == Activation::identity || f.activation == Activation::softmax) return;
    T* derivative = f.derivative != nullptr && stores_derivative(f.activation) ? f.derivative + column : nullptr;
    activate_block(f.activation, f.y + column, f.y + column, derivative, f.ldy, rows, columns);
}

// After the products, whose floor has been ReLU.
template <class T>
void activate_products(const DenseForward<T>& f, size_t column, size_t columns) {
    if (f.activation != Activation::relu) activate_columns(f, column, f.m, columns);
}

// The bias of a panel's columns, or zeros if there is none, followed by zeros up to the panel's width.
template <class T>
FUSEDNET_INLINE const T* padded_bias(const DenseForward<T>& f, size_t column, const Panel<T>& panel, T* padded) {
    for (size_t i = 0; i < panel.width; i += lanes<T>) {
        const size_t left = at_most(panel.columns - i, lanes<T>);
        store(padded + i, f.bias != nullptr ? load_partial(f.bias + column + i, left) : Vec<T>{});
    }
    return padded;
}

// The last columns, a piece or fewer. By blocks of the depth that are the same for all processors: their bits depend on
// them, since each block adds the sum of two chains.
template <class T>
void forward_narrow(const DenseForward<T>& f, size_t columns, T final_floor) {
    const size_t j = f.n - columns, rows = block_rows(f.k, depth_block);
    const Panel<T> panel(columns);
    T edge[panel_columns<T>];
    for (size_t p = 0; p < f.k; p += rows) {
        const size_t block = at_most(f.k - p, rows);
        const T* const start = p == 0 && !f.continued ? padded_bias(f, j, panel, edge) : nullptr;
        const T floor = p + block == f.k ? final_floor : no_floor<T>;
        const Product<T> product{f.x + p, f.ldx, f.w + p * f.ldw + j, f.ldw, f.m, block, start, f.y + j, f.ldy, floor};
        if (f.m <= few_rows) {
            product_partial<2>(product, columns);
        } else {
            product_narrow(product, columns, f.panel, f.ahead);
        }
    }
    activate_products(f, j, panel.width);
}

// Y = f(X·W + b), the columns from `first` on. By blocks of the depth, each for all panels before the next: of X and W
// only one block need stay in the caches.
template <class T>
void forward_by_panels(const DenseForward<T>& f, size_t first, bool far, T final_floor) {
    const bool strips = goes_by_strips(f);
    if (strips) first = f.n / lanes<T> * lanes<T>;
    const bool packing = f.m > unpacked_tiles(f) * tile_rows && f.k * f.ldw * sizeof(T) > first_level_cache;
    const size_t tiles = (f.m + tile_rows - 1) / tile_rows, rows = block_rows(f.k, usual_block(f, tiles));
    const auto fetch = [&](size_t p, size_t j, size_t steps) {
        const size_t columns = Panel<T>(f.n - j).columns;
        return Prefetch<T>({f.w + p * f.ldw + j}, f.ldw, at_most(f.k - p, rows), columns, tiles, steps);
    };
    const size_t narrow = narrow_columns<T>(f.n), end = f.n - narrow;
    T edge[panel_columns<T>];
    for (size_t p = 0; p < f.k; p += rows) {
        const size_t block = at_most(f.k - p, rows);
        const bool last = p + block == f.k, begin = p == 0 && !f.continued;
        const T floor = last ? final_floor : no_floor<T>;
        if (strips) forward_strips(f, p, block, first, floor);
        if (strips && last) activate_products(f, 0, first);
        for (size_t j = first; j < end;) {
            const Panel<T> panel(f.n - j);
            const bool whole = panel.width == panel.columns;
            const T* w = f.w + p * f.ldw + j;
            Product<T> product{f.x + p, f.ldx, w, f.ldw, f.m, block, nullptr, f.y + j, f.ldy, floor};
            if (begin) product.start = f.bias != nullptr && whole ? f.bias + j : padded_bias(f, j, panel, edge);
            if (masks && f.m <= few_rows && panel.columns < lanes<T>) {
                product_partial<1>(product, panel.columns);
            } else {
                Prefetch<T> lines;
                if (far) {
                    const size_t next = j + panel.columns;
                    lines = next < end ? fetch(p, next, block) : fetch(p + block, first, block);
                } else if (are_many(f.ahead)) {
                    lines = {f.ahead, panel.width};
                }
                if (!whole) {
                    pack_columns(w, f.ldw, block, panel.columns, f.panel, panel.width);
                    product.b = f.panel;
                    product.ldb = panel.width;
                }
                with_panel<T>(panel, far || are_many(f.ahead), [&](auto columns, auto fetching) {
                    // A single step's tiles are low, and copy nothing.
                    T* copy = whole && packing && block > 1 ? f.panel : nullptr;
                    product_panel<fetching.n, decltype(columns), T>(product, copy, &lines, f.ahead);
                });
            }
            if (last) activate_products(f, j, panel.width);
            j += panel.columns;
        }
    }
    if constexpr (halves) {
        if (narrow > 0) forward_narrow(f, narrow, final_floor);
    }
}

template <class T>
void dense_forward(const DenseForward<T>& f) {
    if (f.n == 1 && f.ldw == 1) {
        dot_rows(f.x, f.ldx, f.w, f.m, f.k, f.bias != nullptr ? f.bias[0] : T(0), f.y, f.ldy, f.ahead);
        return f.ldy == 1 ? activate_columns(f, 0, 1, f.m) : activate_columns(f, 0, f.m, 1);
    }
    if constexpr (masks) {
        if (goes_by_dots(f)) {
            forward_by_dots(f);
            return activate_columns(f, 0, f.m, f.n);
        }
    }
    const T floor = f.activation == Activation::relu ? T(0) : no_floor<T>;
    const bool far = is_far(f);
    size_t done = 0;
    // Of fewer columns two or three rows are as well off in a tile.
    if (f.m <= few_rows && f.n >= (f.m == 1 ? 1 : row_vectors / 2) * lanes<T> && !goes_by_strips(f)) {
        done = forward_few_rows(f, far, floor);
        activate_products(f, 0, done);
    }
    if (done < f.n) forward_by_panels(f, done, far, floor);
}

}  // namespace fusednet::FUSEDNET_SET
