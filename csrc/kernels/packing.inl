// Panels: a few whole vectors of columns of a matrix, mostly of weights, copied or transposed into scratch where the
// products cannot use it in place.
#pragma once

#include "kernel_table.h"
#include "shuffles.h"

namespace fusednet::FUSEDNET_SET {

constexpr size_t tile_rows = FUSEDNET_TILE_ROWS;
constexpr size_t tile_vectors = FUSEDNET_TILE_VECTORS;  // columns of a register tile, and of a panel
constexpr size_t first_level_cache = size_t{1} << 15;   // bytes, or more

// Rows of a panel (see usual_block): it and rows of A stay in the first-level cache; of AVX-512, whose panels are twice
// as wide, with room for what a W that is far brings along; or, where there is the time to fetch both from the
// second-level cache, they stay in the second.
constexpr size_t depth_block = 256, far_depth_block = FUSEDNET_VECTOR_BYTES == 64 ? 160 : depth_block,
                 long_depth_block = 640;

constexpr size_t at_most(size_t n, size_t limit) { return n < limit ? n : limit; }

constexpr size_t longest_block(size_t usual) { return usual + usual / 4; }

// The rows of each block of so deep a product, the last one's perhaps less: nearly equal, and up to a quarter above the
// usual. A tile passes its results through memory for each block, however short that is.
constexpr size_t block_rows(size_t depth, size_t usual) {
    const size_t longest = longest_block(usual);
    if (depth <= longest) return longest;
    const size_t count = (depth + longest - 1) / longest;
    return ((depth + count - 1) / count + 7) / 8 * 8;
}

template <class T>
constexpr size_t whole_vectors(size_t n) {
    return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

template <class T>
constexpr size_t panel_columns = tile_vectors * lanes<T>;

// The depth of a block of W that is transposed: it stays in the first-level cache, with what it comes from or with the
// one that is transposed next.
template <class T>
constexpr size_t transposed_block = at_most(depth_block, first_level_cache / (2 * panel_columns<T> * sizeof(T)));

// The next panel of what remains: its columns, and those rounded up to whole vectors, or half a one. A vector and a
// half are two panels.
template <class T>
struct Panel {
    size_t columns, width;
    explicit FUSEDNET_INLINE Panel(size_t remaining)
        : columns(at_most(remaining, panel_columns<T>)), width(whole_vectors<T>(columns)) {
        if (!halves) return;
        if (columns <= lanes<T> / 2) {
            width = lanes<T> / 2;
        } else if (columns > lanes<T> && columns <= lanes<T> + lanes<T> / 2) {
            columns = width = lanes<T>;
        }
    }
};

// The columns of the last panel of so many; 0 where it is as wide as they come.
template <class T>
FUSEDNET_INLINE size_t last_panel(size_t columns) {
    const size_t rest = columns % panel_columns<T>, first = Panel<T>(rest).columns;
    return rest > first ? rest - first : rest;
}

// The columns of the narrowest panel.
template <class T>
constexpr size_t narrowest_panel = halves ? lanes<T> / 2 : lanes<T>;

// The width of all panels of so many columns.
template <class T>
constexpr size_t panels_width(size_t columns) {
    return (columns + narrowest_panel<T> - 1) / narrowest_panel<T> * narrowest_panel<T>;
}

// So many elements are 16 bytes: four of float, two of double.
template <class T>
constexpr size_t piece = 16 / sizeof(T);

// The last columns of so many, where they are a piece or fewer: half of half a register or less. Else 0.
template <class T>
FUSEDNET_INLINE size_t narrow_columns(size_t columns) {
    const size_t last = last_panel<T>(columns);
    return halves && last <= piece<T> ? last : 0;
}

// panel (depth, width) = the first `columns` columns of w (depth, ldw), with zeros up to whole vectors. Row by row:
// rows of a matrix are often so far apart that few of their lines stay in the first-level cache for a second vector.
template <class T>
void pack_columns(const T* w, size_t ldw, size_t depth, size_t columns, T* panel, size_t width) {
    const size_t whole = columns / lanes<T> * lanes<T>;
    const PartialAccess<T> rest{columns - whole};
    for (size_t p = 0; p < depth; ++p, w += ldw, panel += width) {
        for (size_t j = 0; j < whole; j += lanes<T>) store(panel + j, load(w + j));
        if (whole < columns) store(panel + whole, rest.load(w + whole));
    }
}

// panel (⌈depth / 2⌉, piece, 2) = the first `columns` columns of w (depth, ldw), by pairs of rows; zeros beyond.
template <class T>
void pack_pairs(const T* w, size_t ldw, size_t depth, size_t columns, T* panel) {
    for (size_t p = 0; p < depth; p += 2, w += 2 * ldw, panel += 2 * piece<T>) {
        const Vec<T> first = load_partial(w, columns),
                     second = p + 1 < depth ? load_partial(w + ldw, columns) : Vec<T>{};
        const Vec<T> low = interleave_low(first, second), high = interleave_high(first, second);
        __builtin_memcpy(panel, &low, piece<T> * sizeof(T));
        __builtin_memcpy(panel + piece<T>, &high, piece<T> * sizeof(T));
    }
}

// Transposes within the pieces: element j of piece b of r[i] becomes element i of piece b of r[j].
template <class T>
FUSEDNET_INLINE void transpose_pieces(Vec<T> (&r)[piece<T>]) {
    if constexpr (piece<T> == 4) {
        const Vec<T> a = interleave_low(r[0], r[2]), b = interleave_low(r[1], r[3]);
        const Vec<T> c = interleave_high(r[0], r[2]), d = interleave_high(r[1], r[3]);
        r[0] = interleave_low(a, b);
        r[1] = interleave_high(a, b);
        r[2] = interleave_low(c, d);
        r[3] = interleave_high(c, d);
    } else {
        const Vec<T> a = r[0];
        r[0] = interleave_low(a, r[1]);
        r[1] = interleave_high(a, r[1]);
    }
}

// Row i of vectors that hold transposed pieces, stored one after the other.
template <class T>
FUSEDNET_INLINE const T* row_of_pieces(const T (&vectors)[piece<T>][lanes<T>], size_t i) {
    return vectors[i % piece<T>] + i / piece<T> * piece<T>;
}

// transpose_block: out (block_columns, lanes) = w (lanes, block_columns)ᵀ.
#if FUSEDNET_VECTOR_BYTES == 64

template <class T>
constexpr size_t block_columns = 32 / sizeof(T);

// Each load takes a row and the one that stands half of them on.
FUSEDNET_INLINE void transpose_block(const double* w, size_t ldw, double* out, size_t ldo) {
    Vec<double> r[4];
    for (size_t i = 0; i < 4; ++i) r[i] = load_halves(w + i * ldw, 4 * ldw);
    const Vec<double> a = interleave_low(r[0], r[1]), b = interleave_high(r[0], r[1]);
    const Vec<double> c = interleave_low(r[2], r[3]), d = interleave_high(r[2], r[3]);
    store(out, even_pieces(a, c));
    store(out + ldo, even_pieces(b, d));
    store(out + 2 * ldo, odd_pieces(a, c));
    store(out + 3 * ldo, odd_pieces(b, d));
}

FUSEDNET_INLINE void transpose_block(const float* w, size_t ldw, float* out, size_t ldo) {
    using Pairs = Vec<double>;  // of floats
    Pairs column[2][4];         // by pieces: of rows 0 to 3 or 4 to 7, and so many columns and eight rows on
    for (size_t g = 0; g < 2; ++g, w += 4 * ldw) {
        Vec<float> r[4];
        for (size_t i = 0; i < 4; ++i) r[i] = load_halves(w + i * ldw, 8 * ldw);
        const Pairs a = (Pairs)interleave_low(r[0], r[1]), b = (Pairs)interleave_high(r[0], r[1]);
        const Pairs c = (Pairs)interleave_low(r[2], r[3]), d = (Pairs)interleave_high(r[2], r[3]);
        column[g][0] = interleave_low(a, c);
        column[g][1] = interleave_high(a, c);
        column[g][2] = interleave_low(b, d);
        column[g][3] = interleave_high(b, d);
    }
    for (size_t j = 0; j < 4; ++j) {
        store(out + j * ldo, (Vec<float>)even_pieces(column[0][j], column[1][j]));
        store(out + (j + 4) * ldo, (Vec<float>)odd_pieces(column[0][j], column[1][j]));
    }
}

#else

template <class T>
constexpr size_t block_columns = piece<T>;

// Each load gathers the rows that stand one piece apart.
template <class T>
FUSEDNET_INLINE void transpose_block(const T* w, size_t ldw, T* out, size_t ldo) {
    Vec<T> r[piece<T>];
    for (size_t i = 0; i < piece<T>; ++i) r[i] = load_pieces(w + i * ldw, piece<T> * ldw);
    transpose_pieces<T>(r);
    for (size_t i = 0; i < piece<T>; ++i) store(out + i * ldo, r[i]);
}

#endif

constexpr size_t never = ~size_t{0};

// Tiles of AVX-512 take so many steps in another way at their end (see finish_tile), in which nothing interrupts them.
constexpr size_t last_steps = FUSEDNET_VECTOR_BYTES == 64 ? 2 : 0;

// The steps between two of so many interruptions of tiles of so many steps each. No tile ends with steps for which
// another is due: those would be lost.
constexpr size_t interval_between(size_t interruptions, size_t tiles, size_t steps) {
    if (interruptions == 0) return never;
    const size_t each = (interruptions + tiles - 1) / tiles;
    return steps > each + last_steps ? (steps - last_steps - 1) / each : 1;
}

// panel (depth, width) = w (columns, depth)ᵀ, zeros beyond `columns`: a block at a time while something else is
// computed, or at once. What will be transposed after it, if given, is brought into the second-level cache meanwhile.
template <class T>
class Transposition {
public:
    Transposition(const T* w, size_t ldw, size_t depth, size_t columns, T* panel, size_t width, const T* after)
        : w_(w), ldw_(ldw), depth_(depth), columns_(columns), panel_(panel), width_(width), after_(after) {
        whole_depth_ = depth - depth % block_columns<T>;
        whole_columns_ = columns - columns % lanes<T>;
    }

    // Spreads the blocks over so many tiles of so many steps of depth.
    void spread(size_t tiles, size_t steps) {
        interval_ = interval_between(whole_columns_ / lanes<T> * (whole_depth_ / block_columns<T>), tiles, steps);
    }

    // So many steps go by between two blocks.
    size_t interval() const { return interval_; }

    FUSEDNET_INLINE void next() {
        const size_t offset = column_ * ldw_ + row_;
        transpose_block(w_ + offset, ldw_, panel_ + row_ * width_ + column_, width_);
        // Blocks side by side share the lines of their rows: each fetches some of those.
        constexpr size_t sharing = cache_line / (block_columns<T> * sizeof(T));
        constexpr size_t lines = lanes<T> < sharing ? 1 : lanes<T> / sharing;
        const size_t first = offset + row_ / block_columns<T> % sharing * lines * ldw_;
        if (after_ != nullptr) {
            for (size_t i = 0; i < lines; ++i) __builtin_prefetch(after_ + first + i * ldw_, 0, 2);
        } else {
            for (size_t i = 0; i < lines; ++i) __builtin_prefetch(w_ + first + i * ldw_ + cache_line / sizeof(T));
        }
        row_ += block_columns<T>;
        if (row_ < whole_depth_) return;
        row_ = 0;
        column_ += lanes<T>;
        if (column_ == whole_columns_) interval_ = never;
    }

    // What remains. (The copies stay in registers, whatever is stored.)
    void finish() {
        const T* const w = w_;
        T* const panel = panel_;
        const size_t ldw = ldw_, width = width_, columns = whole_columns_, depth = whole_depth_;
        for (size_t j = column_, p = row_; j < columns; j += lanes<T>, p = 0) {
            for (; p < depth; p += block_columns<T>)
                transpose_block(w + j * ldw + p, ldw, panel + p * width + j, width);
        }
        for (size_t p = 0; columns < width && p < depth_; ++p) store(panel + p * width + columns, Vec<T>{});
        copy(columns, 0, depth);
        copy(0, depth, depth_);
    }

private:
    void copy(size_t first, size_t p, size_t end) const {
        for (size_t j = first; j < columns_; ++j) {
            for (size_t q = p; q < end; ++q) panel_[q * width_ + j] = w_[j * ldw_ + q];
        }
    }

    const T* w_;
    size_t ldw_, depth_, columns_;
    T* panel_;
    size_t width_;
    const T* after_;
    size_t whole_depth_, whole_columns_, row_ = 0, column_ = 0, interval_ = never;
};

}  // namespace fusednet::FUSEDNET_SET
