// A dense layer's output of a few columns: by dot products with Wᵀ where tiles would multiply lanes that nobody wants.
#pragma once

#include "dot_tile.inl"

namespace fusednet::FUSEDNET_SET {

constexpr size_t most_dot_columns = 12;
constexpr size_t most_in_place = 3;  // rows of X that take W as it lies

// The lanes of a tile for so many columns.
template <class T>
constexpr size_t tile_lanes(size_t columns) {
    return halves && columns <= piece<T> ? piece<T> : panels_width<T>(columns);
}

// Whether a quarter of them or more would be nobody's, and more than one.
template <class T>
constexpr bool is_wasteful(size_t columns) {
    return 4 * columns <= 3 * tile_lanes<T>(columns) && columns + 1 < tile_lanes<T>(columns);
}

// Whether dot products are so many fewer multiply-adds that they pay for the sums of lanes and for Wᵀ. By the shape of
// W alone, whatever the rows of X, as the bits are not those of a tile; and not for columns of a wider W, whose bits
// must not depend on where it was split.
template <class T>
bool goes_by_dots(const DenseForward<T>& f) {
    if (f.n != f.ldw || f.n < 2 || f.n > at_most(most_dot_columns, panel_columns<T>)) return false;
    return is_wasteful<T>(f.n) && (f.n + 1) * (f.k + 2 * lanes<T>) < tile_lanes<T>(f.n) * f.k;
}

// The depth for which Wᵀ stays in the first-level cache, of blocks that are nearly equal and whole vectors.
template <class T>
constexpr size_t longest_dot_block = 2048 / sizeof(T);
template <class T>
size_t dot_block(size_t depth) {
    const size_t blocks = (depth + longest_dot_block<T> - 1) / longest_dot_block<T>;
    return whole_vectors<T>((depth + blocks - 1) / blocks);
}

// Elements of scratch for it, and for what transpose_block leaves behind the columns.
template <class T>
size_t dot_panel_size(size_t depth) {
    return at_most(whole_vectors<T>(depth), longest_dot_block<T>) * most_dot_columns + block_columns<T> * lanes<T>;
}

// panel (⌈depth / lanes⌉, columns, lanes) = w (depth, columns)ᵀ, zeros beyond the depth.
template <class T>
void pack_transposed(const T* w, size_t depth, size_t columns, T* panel) {
    const size_t group = lanes<T> * columns;
    T padded[lanes<T> * most_dot_columns + block_columns<T>];
    for (size_t p = 0; p < depth; p += lanes<T>, w += group, panel += group) {
        const size_t left = (depth - p) * columns;
        const T* rows = w;
        if (left < group + block_columns<T>) {  // fewer columns than a block has reach over the rows that follow
            for (size_t i = 0; i < group + block_columns<T>; ++i) padded[i] = i < left ? w[i] : T(0);
            rows = padded;
        }
        for (size_t j = 0; j < columns; j += block_columns<T>) {
            const size_t last = columns < block_columns<T> ? 0 : columns - block_columns<T>, first = at_most(j, last);
            transpose_block(rows + first, columns, panel + first * lanes<T>, lanes<T>);
        }
    }
}

// y (rows, columns) = start + x (rows, depth) · w (depth, columns), by w's panel; the rows of start are `lds` apart.
template <size_t rows, size_t columns, class T>
__attribute__((noinline)) void dot_columns(const T* x, size_t ldx, const T* panel, size_t depth, const T* start,
                                           size_t lds, T* y, size_t ldy, ReadAhead* ahead) {
    Vec<T> acc[rows * columns] = {};
    const auto advance = [&](auto access) FUSEDNET_ALWAYS_INLINE {
        Vec<T> line[rows];
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) line[i] = access.load(x + i * ldx);
#pragma GCC unroll 16
        for (size_t j = 0; j < columns; ++j) {
            Vec<T> w = load(panel + j * lanes<T>);
            if constexpr (rows > 1) keep_in_register(w);
#pragma GCC unroll 16
            for (size_t i = 0; i < rows; ++i) acc[i * columns + j] = fma(line[i], w, acc[i * columns + j]);
        }
        x += lanes<T>;
        panel += columns * lanes<T>;
    };
    const size_t interval = burst_interval(ahead, 2 * rows * columns * lanes<T>);
    for (size_t left = depth / lanes<T>; left > 0; read_ahead(ahead)) {
        const size_t steps = at_most(left, interval);
        for (size_t p = 0; p < steps; ++p) advance(WholeAccess<T>{});
        left -= steps;
    }
    if (depth % lanes<T> != 0) advance(PartialAccess<T>{depth % lanes<T>});
    constexpr size_t count = whole_vectors<T>(rows * columns), width = whole_vectors<T>(columns);
    T sums[count + width] = {};
#pragma GCC unroll 16
    for (size_t i = 0; i < count; i += lanes<T>) {
        Vec<T> v[lanes<T>];
#pragma GCC unroll 16
        for (size_t q = 0; q < lanes<T>; ++q) v[q] = i + q < rows * columns ? acc[i + q] : Vec<T>{};
        store(sums + i, sum_each<T>(v));
    }
    for (size_t i = 0; i < rows; ++i) {  // the lanes behind the columns are whatever follows
        for (size_t j = 0; j < width; j += lanes<T>)
            store(y + i * ldy + j, load(start + i * lds + j) + load(sums + i * columns + j));
    }
}

// The same bits for few rows, w in place: each of its lanes a chain. Of several rows half of the chains at a time, for
// the registers.
template <size_t rows, class T>
void dot_columns_in_place(const T* x, size_t ldx, const T* w, size_t depth, size_t columns, const T* start, size_t lds,
                          T* y, size_t ldy) {
    for (size_t j = 0; j < columns; j += lanes<T>) {
        const PartialAccess<T> access{at_most(columns - j, lanes<T>)};
        Vec<T> chain[rows][lanes<T>];
        constexpr size_t most = rows == 1 ? lanes<T> : lanes<T> / 2;
#pragma GCC unroll 2
        for (size_t first = 0; first < lanes<T>; first += most) {
            Vec<T> sum[most][rows] = {};
            const auto advance = [&](size_t p, size_t q) FUSEDNET_ALWAYS_INLINE {
                const Vec<T> line = access.load(w + p * columns + j);
#pragma GCC unroll 3
                for (size_t i = 0; i < rows; ++i) sum[q][i] = fma(broadcast(x[i * ldx + p]), line, sum[q][i]);
            };
            size_t p = 0;
            for (; p + lanes<T> <= depth; p += lanes<T>) {
#pragma GCC unroll 16
                for (size_t q = 0; q < most; ++q) advance(p + first + q, q);
            }
#pragma GCC unroll 16
            for (size_t q = 0; q < most; ++q) {
                if (p + first + q < depth) {
                    advance(p + first + q, q);
                } else if (p < depth) {
                    for (size_t i = 0; i < rows; ++i) sum[q][i] += Vec<T>{};  // as dot_columns: −0 becomes 0
                }
                for (size_t i = 0; i < rows; ++i) chain[i][first + q] = sum[q][i];
            }
        }
        for (size_t i = 0; i < rows; ++i) store(y + i * ldy + j, load(start + i * lds + j) + sum_chains<T>(chain[i]));
    }
}

// A block of the depth by its panel, and all rows, as many at a time as there are registers for: their sums, a vector
// of each and one of Wᵀ.
template <size_t columns, class T>
void dot_all_rows(const DenseForward<T>& f, const T* x, size_t depth, const T* start, size_t lds) {
    constexpr size_t registers = FUSEDNET_VECTOR_BYTES == 64 ? 32 : 16, most = (registers - 1) / (columns + 1);
    size_t i = 0;
    const auto tiles = [&](auto rows) FUSEDNET_ALWAYS_INLINE {
        for (; i + rows.n <= f.m; i += rows.n) {
            dot_columns<rows.n, columns>(x + i * f.ldx, f.ldx, f.panel, depth, start + i * lds, lds, f.y + i * f.ldy,
                                         f.ldy, f.ahead);
        }
    };
    tiles(Count<most>{});
    if constexpr (most > 3) tiles(Count<most / 2>{});
    if constexpr (most > 1) tiles(Count<1>{});
}

// Y = X·W + b, to which the activation is yet to be applied.
template <class T>
void forward_by_dots(const DenseForward<T>& f) {
    T bias[whole_vectors<T>(most_dot_columns)] = {};
    for (size_t j = 0; f.bias != nullptr && j < f.n; ++j) bias[j] = f.bias[j];
    const size_t block = dot_block<T>(f.k);
    for (size_t p = 0; p < f.k; p += block) {
        const bool begin = p == 0 && !f.continued;
        const T *x = f.x + p, *w = f.w + p * f.n, *start = begin ? bias : f.y;
        const size_t depth = at_most(f.k - p, block), lds = begin ? 0 : f.ldy;
        if (f.m <= most_in_place) {  // Wᵀ would take longer than the products
            with_count<1, most_in_place>(
                f.m, [&](auto rows) { dot_columns_in_place<rows.n>(x, f.ldx, w, depth, f.n, start, lds, f.y, f.ldy); });
            continue;
        }
        pack_transposed(w, depth, f.n, f.panel);
        with_count<2, at_most(most_dot_columns, panel_columns<T>)>(f.n, [&](auto columns) {
            if constexpr (is_wasteful<T>(columns.n)) dot_all_rows<columns.n>(f, x, depth, start, lds);
        });
    }
}

}  // namespace fusednet::FUSEDNET_SET
