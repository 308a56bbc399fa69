// Panels: a few whole vectors of columns of a weight matrix, copied or transposed into scratch where the products
// cannot use it in place, and the next one's way into the cache.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

constexpr size_t tile_vectors = 2;  // columns of a register tile, and of a panel

template <class T>
constexpr size_t panel_columns = tile_vectors * lanes<T>;

template <class T>
size_t panel_size(size_t depth) {
    return depth * panel_columns<T>;
}

// The next panel of what remains: its columns, and those rounded up to whole vectors.
template <class T>
struct Panel {
    size_t columns, width;
    explicit FUSEDNET_INLINE Panel(size_t remaining)
        : columns(remaining < panel_columns<T> ? remaining : panel_columns<T>),
          width((columns + lanes<T> - 1) / lanes<T> * lanes<T>) {}
};

// Leading dimensions that are multiples of a large power of two put a whole panel into a few cache sets.
template <class T>
FUSEDNET_INLINE bool conflicting_stride(size_t ld) {
    return ld * sizeof(T) % 2048 == 0;
}

// panel (depth, width) = the first `columns` columns of w (depth, ldw), zeros beyond.
template <class T>
void pack_columns(const T* w, size_t ldw, size_t depth, size_t columns, T* panel, size_t width) {
    for (size_t p = 0; p < depth; ++p, w += ldw, panel += width) {
        for (size_t j = 0; j < width; j += lanes<T>) {
            Vec<T> v{};
            if (j + lanes<T> <= columns) {
                v = load(w + j);
            } else if (j < columns) {
                v = load_partial(w + j, columns - j);
            }
            store(panel + j, v);
        }
    }
}

// out (piece, lanes) = w (lanes, piece)ᵀ, where `piece` elements are 16 bytes: four of float, two of double. Each load
// gathers the rows that stand one piece apart; interleaving then transposes within the pieces.
template <class T>
FUSEDNET_INLINE void transpose_block(const T* w, size_t ldw, T* out, size_t ldo) {
    constexpr size_t piece = 16 / sizeof(T);
    Vec<T> r[piece];
    for (size_t i = 0; i < piece; ++i) r[i] = load_pieces(w + i * ldw, piece * ldw);
    if constexpr (piece == 4) {
        const Vec<T> a = interleave_low(r[0], r[2]), b = interleave_low(r[1], r[3]);
        const Vec<T> c = interleave_high(r[0], r[2]), d = interleave_high(r[1], r[3]);
        store(out, interleave_low(a, b));
        store(out + ldo, interleave_high(a, b));
        store(out + 2 * ldo, interleave_low(c, d));
        store(out + 3 * ldo, interleave_high(c, d));
    } else {
        store(out, interleave_low(r[0], r[1]));
        store(out + ldo, interleave_high(r[0], r[1]));
    }
}

// panel (depth, width) = w (columns, depth)ᵀ, zeros beyond `columns`.
template <class T>
void pack_transposed(const T* w, size_t ldw, size_t depth, size_t columns, T* panel, size_t width) {
    constexpr size_t piece = 16 / sizeof(T);
    const size_t whole_columns = columns - columns % lanes<T>, whole_depth = depth - depth % piece;
    for (size_t j = 0; j < whole_columns; j += lanes<T>) {
        for (size_t p = 0; p < whole_depth; p += piece) {
            transpose_block(w + j * ldw + p, ldw, panel + p * width + j, width);
        }
    }
    for (size_t p = 0; p < depth; ++p) {
        for (size_t j = p < whole_depth ? whole_columns : 0; j < width; ++j) {
            panel[p * width + j] = j < columns ? w[j * ldw + p] : T(0);
        }
    }
}

// Whether a matrix of weights is too large to be found near the core: then prefetching pays for itself.
template <class T>
FUSEDNET_INLINE bool is_far(size_t rows, size_t columns) {
    return rows * columns * sizeof(T) > (size_t{1} << 18);
}

// Brings a block of memory into the second-level cache, a share at a time: the next panel, while this one is used.
template <class T>
class Prefetch {
public:
    Prefetch(const T* block, size_t ld, size_t rows, size_t columns)
        : row_(block), ld_(ld), rows_(rows), columns_(columns) {}

    // At least `lines` cache lines of what is left.
    void advance(size_t lines) {
        for (; lines > 0 && rows_ > 0; --lines) {
            __builtin_prefetch(row_ + column_, 0, 2);
            column_ += 64 / sizeof(T);
            if (column_ >= columns_) {
                column_ = 0;
                row_ += ld_;
                --rows_;
            }
        }
    }
    size_t lines() const { return columns_ == 0 ? 0 : rows_ * ((columns_ * sizeof(T) + 63) / 64); }

private:
    const T* row_;
    size_t ld_, rows_, columns_, column_ = 0;
};

}  // namespace fusednet::FUSEDNET_SET
