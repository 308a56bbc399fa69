// The caller's rows, of any element type and any strides, as rows of T; standardized, where that is wanted. Rows of
// floating-point numbers are read where they lie. Others go through a buffer that stays in the first-level cache: runs
// of their elements are converted into it, which is a vector loop, along the rows or, where those lie column by column,
// along the columns.
#pragma once

#include <type_traits>

#include "arithmetic.h"
#include "element_types.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

struct AsTheyAre {
    AsTheyAre from(size_t) const { return {}; }
    template <class Access>
    FUSEDNET_INLINE Vec<double> operator()(Vec<double> x, size_t, Access) const {
        return x;
    }
};

// In double precision: a large mean costs float32 no digits.
template <class V>
FUSEDNET_INLINE V standardize(V x, V mean, V inverse_deviation) {
    return (x - mean) * inverse_deviation;
}

struct Standardized {
    const double *mean, *inverse_deviation;

    Standardized from(size_t column) const { return {mean + column, inverse_deviation + column}; }
    template <class Access>
    FUSEDNET_INLINE Vec<double> operator()(Vec<double> x, size_t column, Access access) const {
        return standardize(x, access.load(mean + column), access.load(inverse_deviation + column));
    }
};

template <class Access>
FUSEDNET_INLINE Vec<double> load_wide(const double* p, Access access) {
    return access.load(p);
}
FUSEDNET_INLINE Vec<double> load_wide(const float* p, WholeAccess<double>) {
    return widen(load<float, Half<float>>(p));
}
FUSEDNET_INLINE Vec<double> load_wide(const float* p, PartialAccess<double> access) {
    const Vec<float> v = load_partial(p, access.count);
    Half<float> half;
    __builtin_memcpy(&half, &v, sizeof half);
    return widen(half);
}

// A vector of T, or a part of one, from elements j, j + 1, … of a row.
template <class T, class S, class Scale, class Access>
FUSEDNET_INLINE Vec<T> load_as(const S* row, size_t j, const Scale& scale, Access access) {
    if constexpr (std::is_same_v<S, T> && std::is_same_v<Scale, AsTheyAre>) {
        return access.load(row + j);
    } else {
        const auto wide = [=](size_t k, auto part)
                              FUSEDNET_ALWAYS_INLINE { return scale(load_wide(row + k, part), k, part); };
        if constexpr (std::is_same_v<T, double>) {
            return wide(j, access);
        } else if constexpr (std::is_same_v<Access, WholeAccess<T>>) {
            return narrow(wide(j, WholeAccess<double>{}), wide(j + lanes<double>, WholeAccess<double>{}));
        } else {
            const size_t low = at_most(access.count, lanes<double>), high = access.count - low;
            return narrow(wide(j, PartialAccess<double>{low}),
                          high > 0 ? wide(j + lanes<double>, PartialAccess<double>{high}) : Vec<double>{});
        }
    }
}

// Zero as long as all of x are finite, NaN from then on: as x − x is, or those of several x bit by bit, which waits for
// nothing, as a sum of them would.
template <class T>
FUSEDNET_INLINE void note_excess(Vec<T>& excess, Vec<T> x) {
    excess = (Vec<T>)(bits<T>(excess) | bits<T>(x - x));
}

// The number of leading rows that are finite, by the excess of all of them.
template <class T>
size_t finite_rows(Vec<T> excess, const T* out, size_t ldo, size_t rows, size_t columns) {
    if (sum_lanes<T>(excess) == T(0)) return rows;
    for (size_t i = 0; i < rows; ++i) {  // rare: look for the row
        for (size_t j = 0; j < columns; ++j) {
            const T x = out[i * ldo + j];
            if (!(x - x == T(0))) return i;
        }
    }
    return rows;
}

// Rows of floating-point numbers, in one go where there are no gaps. Of rows that are picked, a few ahead are on their
// way, which no processor can guess; and a column of them, as targets often are, goes by single numbers.
template <class S, class T, class Scale>
size_t gather_vectors(const S* source, std::ptrdiff_t ld_source, const std::int64_t* index, size_t first, size_t rows,
                      size_t columns, const Scale& scale, T* out, size_t ldo) {
    constexpr bool plain = std::is_same_v<Scale, AsTheyAre>;
    Vec<T> excess{};
    const auto row = [=](size_t i) {
        const auto number = index != nullptr ? index[i] : static_cast<std::int64_t>(first + i);
        return source + static_cast<std::ptrdiff_t>(number) * ld_source;
    };
    const auto copy_vector = [=, &excess](const S* from, T* to, const S* ahead, size_t j, auto access) {
        for (size_t k = 0; k < lanes<T>; k += cache_line / sizeof(S)) __builtin_prefetch(ahead + j + k);
        Vec<T> v = load_as<T>(from, j, scale, access);
        keep_in_register(v);
        note_excess<T>(excess, v);
        access.store(to + j, v);
    };
    const bool gaps = index != nullptr || ld_source != static_cast<std::ptrdiff_t>(columns) || ldo != columns;
    const size_t pieces = plain && !gaps ? 1 : rows, length = plain && !gaps ? rows * columns : columns;
    const auto for_each_piece = [=](const auto& copy) {
        constexpr size_t lead = 4;
        for (size_t i = 0; i < pieces; ++i)
            copy(row(i), out + i * ldo, row(index != nullptr && i + lead < rows ? i + lead : i));
    };
    if (plain && gaps && columns == 1 && ldo == 1 && rows >= lanes<T>) {  // of fewer a vector waits for what was stored
        for (size_t i = 0; i < rows; ++i) out[i] = static_cast<T>(*row(i));
        for_each_vector<T>(rows, [=, &excess](size_t i, auto access) { note_excess<T>(excess, access.load(out + i)); });
    } else if (length < lanes<T>) {  // one mask for all
        const PartialAccess<T> access{length};
        for_each_piece([=](const S* from, T* to, const S* ahead) { copy_vector(from, to, ahead, 0, access); });
    } else {
        for_each_piece([=](const S* from, T* to, const S* ahead) {
            for_each_vector<T>(length, [=](size_t j, auto access) { copy_vector(from, to, ahead, j, access); });
        });
    }
    return finite_rows(excess, out, ldo, rows, columns);
}

template <class S, class T, class Scale>
size_t gather_in_place(const SourceRows& a, const Scale& scale, T* out, size_t ldo) {
    return gather_vectors(static_cast<const S*>(a.data), a.row_stride / static_cast<std::ptrdiff_t>(sizeof(S)), a.index,
                          a.first, a.count, a.columns, scale, out, ldo);
}

template <class S, class T>
void convert_adjacent(const char* __restrict from, size_t n, T* __restrict to) {
    for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(element<S>(from + i * sizeof(S)));
}

// A run of elements so far apart.
template <class T>
void convert(DType dtype, const char* from, std::ptrdiff_t stride, size_t n, T* to) {
    with_type(dtype, [=](auto tag) FUSEDNET_ALWAYS_INLINE {
        using S = decltype(tag);
        if (stride == static_cast<std::ptrdiff_t>(sizeof(S))) return convert_adjacent<S>(from, n, to);
        const char* p = from;
        for (size_t i = 0; i < n; ++i, p += stride) to[i] = static_cast<T>(element<S>(p));
    });
}

FUSEDNET_INLINE const char* address(const SourceRows& a, size_t i, size_t j) {
    const auto row = a.index != nullptr ? a.index[i] : static_cast<std::int64_t>(a.first + i);
    return static_cast<const char*>(a.data) + static_cast<std::ptrdiff_t>(row) * a.row_stride +
           static_cast<std::ptrdiff_t>(j) * a.column_stride;
}

// Through a buffer of D, which is T, or double where they are scaled. Rows that follow each other are one run.
template <class D, class T, class Scale>
size_t gather_by_rows(const SourceRows& a, const Scale& scale, T* out, size_t ldo) {
    constexpr size_t room = 1024;
    alignas(cache_line) D buffer[room];
    const size_t width = at_most(a.columns, room), height = a.count * width <= room ? a.count : room / width;
    const auto bytes = static_cast<std::ptrdiff_t>(element_bytes(a.dtype));
    const bool adjacent = a.index == nullptr && width == a.columns && a.column_stride == bytes &&
                          a.row_stride == static_cast<std::ptrdiff_t>(width) * bytes;
    for (size_t i = 0; i < a.count; i += height) {
        const size_t rows = at_most(a.count - i, height);
        for (size_t j = 0; j < a.columns; j += width) {
            const size_t columns = at_most(a.columns - j, width);
            const size_t runs = adjacent ? 1 : rows, length = adjacent ? rows * columns : columns;
            for (size_t r = 0; r < runs; ++r)
                convert(a.dtype, address(a, i + r, j), a.column_stride, length, buffer + r * columns);
            const size_t finite = gather_vectors(buffer, static_cast<std::ptrdiff_t>(columns), nullptr, 0, rows,
                                                 columns, scale.from(j), out + i * ldo + j, ldo);
            if (finite < rows) return i + finite;
        }
    }
    return a.count;
}

constexpr size_t column_rows = 128;  // of each column at a time

template <class T>
void read_column(const SourceRows& a, size_t i, size_t j, size_t rows, const AsTheyAre&, T* to) {
    convert(a.dtype, address(a, i, j), a.row_stride, rows, to);
}

template <class T>
void read_column(const SourceRows& a, size_t i, size_t j, size_t rows, const Standardized& scale, T* to) {
    alignas(cache_line) double wide[column_rows];
    convert(a.dtype, address(a, i, j), a.row_stride, rows, wide);
    const double mean = scale.mean[j], inverse_deviation = scale.inverse_deviation[j];
    for (size_t r = 0; r < rows; ++r) to[r] = static_cast<T>(standardize(wide[r], mean, inverse_deviation));
}

// Asks for so many rows of a few columns from there on: a processor does not guess where each begins.
FUSEDNET_INLINE void fetch_columns(const SourceRows& a, size_t i, size_t j, size_t rows, size_t columns) {
    const auto bytes = static_cast<std::ptrdiff_t>(element_bytes(a.dtype));
    if (a.row_stride != bytes) return;
    for (size_t c = j; c < at_most(a.columns, j + columns); ++c) {
        const char *from = address(a, i, c), *end = from + static_cast<std::ptrdiff_t>(rows) * bytes;
        for (; from < end; from += cache_line) __builtin_prefetch(from, 0, 2);
    }
}

// A vector of columns is transposed, while the next ones are fetched.
template <class T, class Scale>
size_t gather_by_columns(const SourceRows& a, const Scale& scale, T* out, size_t ldo) {
    alignas(cache_line) T by_columns[lanes<T>][column_rows] = {}, by_rows[block_columns<T>][lanes<T>];
    for (size_t i = 0; i < a.count; i += column_rows) {
        const size_t rows = at_most(a.count - i, column_rows);
        T* const y = out + i * ldo;
        Vec<T> excess{};
        for (size_t j = 0; j < a.columns; j += lanes<T>) {
            const size_t columns = at_most(a.columns - j, lanes<T>), next = j + columns;
            fetch_columns(a, i, next, rows, lanes<T>);
            for (size_t c = 0; c < columns; ++c) {
                read_column(a, i, j + c, rows, scale, by_columns[c]);
                for (size_t r = 0; r < rows; r += lanes<T>)  // beyond them is what was finite
                    note_excess<T>(excess, load(&by_columns[c][r]));
            }
            const size_t whole = columns == lanes<T> ? rows - rows % block_columns<T> : 0;
            for (size_t r = 0; r < whole; r += block_columns<T>)
                transpose_block(&by_columns[0][r], column_rows, y + r * ldo + j, ldo);
            for (size_t r = whole; r < rows; r += block_columns<T>) {
                transpose_block(&by_columns[0][r], column_rows, by_rows[0], lanes<T>);
                for (size_t k = 0; k < at_most(rows - r, block_columns<T>); ++k)
                    store_partial(y + (r + k) * ldo + j, load(by_rows[k]), columns);
            }
        }
        const size_t finite = finite_rows(excess, y, ldo, rows, a.columns);
        if (finite < rows) return i + finite;
    }
    return a.count;
}

// One that is read before a buffer is filled.
FUSEDNET_INLINE bool is_short_row(const SourceRows& a) { return a.count == 1 && a.columns < 16; }

template <class T>
size_t gather_short_row(const SourceRows& a, T* out) {
    return with_type(a.dtype, [=](auto tag) FUSEDNET_ALWAYS_INLINE {
        T excess = 0;
        for (size_t j = 0; j < a.columns; ++j) {
            const auto x = element<decltype(tag)>(address(a, 0, j));
            out[j] = a.mean == nullptr
                         ? static_cast<T>(x)
                         : static_cast<T>(standardize(static_cast<double>(x), a.mean[j], a.inverse_deviation[j]));
            excess += out[j] - out[j];
        }
        return size_t{excess == T(0)};
    });
}

template <class D, class T, class Scale>
size_t gather_scaled(const SourceRows& a, const Scale& scale, T* out, size_t ldo) {
    if (has_rows_of<float>(a)) return gather_in_place<float>(a, scale, out, ldo);
    if (has_rows_of<double>(a)) return gather_in_place<double>(a, scale, out, ldo);
    if (is_short_row(a)) return gather_short_row(a, out);
    constexpr size_t enough = 8;  // rows, for blocks of columns
    const auto distance = [](std::ptrdiff_t stride) { return stride < 0 ? -stride : stride; };
    const bool by_columns = a.index == nullptr && a.count >= enough &&
                            (a.columns == 1 || distance(a.row_stride) < distance(a.column_stride));
    return by_columns ? gather_by_columns(a, scale, out, ldo) : gather_by_rows<D>(a, scale, out, ldo);
}

// All but the usual, which would take its time, too, to make room for what these need.
template <class T>
__attribute__((noinline)) size_t gather_unusual(const SourceRows& a, T* out, size_t ldo) {
    if (a.mean == nullptr) return gather_scaled<T>(a, AsTheyAre{}, out, ldo);
    if (is_short_row(a)) return gather_short_row(a, out);
    return gather_scaled<double>(a, Standardized{a.mean, a.inverse_deviation}, out, ldo);
}

// Returns the number of leading rows that are finite.
template <class T>
size_t gather(const SourceRows& a, T* out, size_t ldo) {
    return a.mean == nullptr && has_rows_of<T>(a) ? gather_in_place<T>(a, AsTheyAre{}, out, ldo)
                                                  : gather_unusual(a, out, ldo);
}

}  // namespace fusednet::FUSEDNET_SET
