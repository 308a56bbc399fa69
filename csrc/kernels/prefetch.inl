// What is read next, on its way into the cache while something else is computed: a far W, and rows of data.
#pragma once

#include "kernel_table.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

// Whether a matrix of weights is too large to be found near the core: then prefetching pays for itself. Processors with
// AVX-512 have a second-level cache of 1 MiB or more, others of a quarter or half of that.
template <class T>
FUSEDNET_INLINE bool is_far(size_t rows, size_t columns) {
    return rows * columns * sizeof(T) > (FUSEDNET_VECTOR_BYTES == 64 ? size_t{1} << 19 : size_t{1} << 18);
}

// The same of forward's W, by the size of the network where that tells.
template <class T>
FUSEDNET_INLINE bool is_far(const DenseForward<T>& f) {
    constexpr size_t small = size_t{1} << 18;  // bytes: not worth the interruptions
    if (f.place == Place::unknown) return is_far<T>(f.k, f.ldw);
    return f.place == Place::far && f.k * f.ldw * sizeof(T) > small;
}

// Lines fetched at a time, or about so many: the processor has room for a dozen on their way and waits when there are
// more, and one at a time would interrupt the computation too often.
constexpr size_t burst = 8;

// The next burst of rows to be read.
inline void read_ahead(ReadAhead* rows) {
    if (rows == nullptr) return;
    for (size_t i = 0; i < rows->burst; ++i, rows->line += cache_line) {
        if (rows->line >= rows->end) {
            RowList& list = rows->rows.count > 0 ? rows->rows : rows->others;
            if (list.count == 0) return;
            const auto number =
                static_cast<std::ptrdiff_t>(list.index != nullptr ? static_cast<size_t>(*list.index++) : list.first++);
            const char* row = list.data + number * list.stride;
            rows->line = row - reinterpret_cast<std::uintptr_t>(row) % cache_line;
            rows->end = row + list.bytes;
            --list.count;
        }
        __builtin_prefetch(rows->line, 0, 2);
    }
}

// Bursts of so many bytes, or more.
[[gnu::noinline]] inline void read_ahead(ReadAhead* rows, size_t bytes) {
    for (size_t read = 0; read < bytes; read += rows->burst * cache_line) read_ahead(rows);
}

// Whether tiles are to be interrupted for them.
inline bool are_many(const ReadAhead* rows) { return rows != nullptr && rows->flops > 0; }

// The steps of a tile, of so many flops each, between two bursts.
inline size_t burst_interval(const ReadAhead* rows, size_t flops) {
    return are_many(rows) ? rows->flops / flops + 1 : never;
}

// The lines of so many rows of a panel's width, from `block` on, into the second-level cache; if they are to be
// written, on x86 into the first, to have them alone: a line that another core has read costs a store as much time as
// one that is far. (A Zen 4 that has read it, too, does not get it alone so: claim_rows. Of each line's length the last
// element: rows that start amid a line reach into one more.)
template <size_t width, bool written, class T>
FUSEDNET_INLINE void fetch_rows(const T* block, size_t ld, size_t rows) {
    constexpr size_t line = cache_line / sizeof(T);
    block += line - 1;
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; ++i, block += ld) {
#pragma GCC unroll 8
        for (size_t j = 0; j < width; j += line) __builtin_prefetch(block + j, written ? 1 : 0, 2);
    }
}

// The lines of a block of memory, or of such a block in each of several matrices, fetched while something else is
// computed: by strips of a panel's width, rounded up, and of each up to a burst of rows too many. Or, in their place,
// rows to be read.
template <class T, size_t matrices = 1, bool written = false>
class Prefetch {
public:
    Prefetch() = default;
    // Spreads the bursts over so many tiles of so many steps of depth: over the first of them, if there are more tiles.
    Prefetch(const T* const (&blocks)[matrices], size_t ld, size_t rows, size_t columns, size_t tiles, size_t steps)
        : ld_(ld) {
        for (size_t i = 0; i < matrices; ++i) row_[i] = blocks[i];
        strips_left_ = (columns + panel_columns<T> - 1) / panel_columns<T>;
        strip_ = left_ = (rows + rows_each - 1) / rows_each;
        interval_ = interval_between(strips_left_ * strip_, tiles, steps);
    }
    // For tiles of so many columns.
    Prefetch(ReadAhead* rows, size_t columns) : rows_(rows), interval_(burst_interval(rows, 2 * tile_rows * columns)) {}

    // So many steps go by between two bursts.
    size_t interval() const { return interval_; }

    FUSEDNET_INLINE void next() {
        __asm__("" ::: "memory");  // else what is read here may take a register from the tile
        if (rows_ != nullptr) return read_ahead(rows_);
        for (size_t k = 0; k < matrices; ++k) {
            fetch_rows<panel_columns<T>, written>(row_[k], ld_, rows_each);
            row_[k] += rows_each * ld_;
        }
        if (--left_ > 0) return;
        left_ = strip_;
        if (--strips_left_ == 0) interval_ = never;
        for (size_t k = 0; k < matrices; ++k) {
            row_[k] -= strip_ * rows_each * ld_;
            row_[k] += panel_columns<T>;
        }
    }

private:
    static constexpr size_t lines = matrices * ((panel_columns<T> * sizeof(T) + cache_line - 1) / cache_line);
    static constexpr size_t rows_each = lines < burst ? burst / lines : 1;

    ReadAhead* rows_ = nullptr;
    const T* row_[matrices] = {};
    size_t ld_ = 0, strips_left_ = 0;
    size_t strip_ = 0, left_ = 0;  // bursts of a strip, and those left of this one
    size_t interval_ = never;
};

}  // namespace fusednet::FUSEDNET_SET
