// From the caller's arrays into the workspace: minibatch selection, conversion and validation in one pass; or
// validation alone, of rows that are read where they lie.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "kernels/kernel_table.h"

namespace fusednet {

// Which rows of an array: those that `index` lists, or `first`, first + 1, …
struct RowSelection {
    const std::int64_t* index;
    std::size_t first, count;

    // So many from there on. (Those that come after these may be among them.)
    RowSelection from(std::size_t begin, std::size_t rows) const {
        return {index != nullptr ? index + begin : nullptr, first + begin, rows};
    }

    // One of so many parts, nearly equal.
    RowSelection part(std::size_t i, std::size_t parts) const {
        const std::size_t each = count / parts, longer = count % parts;
        return from(i * each + std::min(i, longer), each + (i < longer ? 1 : 0));
    }

    std::size_t row(std::size_t i) const { return index != nullptr ? static_cast<std::size_t>(index[i]) : first + i; }
};

constexpr std::size_t near_bytes = std::size_t{1} << 18;  // those the second-level cache has anyway

// Whether a matrix is certainly no larger: small steps have no time to look closely.
inline bool is_near(const InputMatrix& source) { return source.rows * source.columns <= near_bytes / sizeof(double); }

// Whether a processor fetches these rows in time by itself: they follow each other, and are few. To plan for them takes
// a good part of a small step.
inline bool come_by_themselves(const InputMatrix& x, const InputMatrix& y, const RowSelection& rows) {
    constexpr std::ptrdiff_t few = 2048;  // bytes
    return rows.index == nullptr && x.row_stride == static_cast<std::ptrdiff_t>(x.columns) * x.column_stride &&
           x.row_stride >= 0 && y.row_stride >= 0 &&
           static_cast<std::ptrdiff_t>(rows.count) * (x.row_stride + y.row_stride) < few;
}

// These rows of the inputs, and of the targets if there are any, for products of so many flops to read ahead.
ReadAhead plan_read_ahead(const InputMatrix& x, const InputMatrix& y, const RowSelection&, double flops);

struct Range {
    double low, high;
};

// out (count, columns) = the selected rows as T. Throws std::invalid_argument naming the first element that is not
// finite, or is outside `range` where one is given.
template <class T>
void gather_rows(const InputMatrix& source, const RowSelection& rows, T* out, std::size_t ldo, const char* what,
                 const Range* range = nullptr);

// gather_rows by a team, where there is enough to copy. One thread, which may be about a small network, goes straight
// on.
template <class T>
void gather_shared(const InputMatrix& source, const RowSelection& rows, T* out, std::size_t ldo, const char* what,
                   const Team& team, const Range* range);
template <class T>
void gather_rows(const InputMatrix& source, const RowSelection& rows, T* out, std::size_t ldo, const char* what,
                 const Team& team, const Range* range = nullptr) {
    team.size() == 1 ? gather_rows(source, rows, out, ldo, what, range)
                     : gather_shared(source, rows, out, ldo, what, team, range);
}

// Whether to copy these rows takes no longer than to find out where they lie.
template <class T>
bool are_few(const InputMatrix& source, const RowSelection& rows) {
    return rows.count * source.columns * sizeof(T) < 4096;
}

// The selected rows where they lie, if the products can read them there: in order, each in one piece, and of type T.
// Else null, and gather_rows has to copy them. It also says what is wrong with those that are not finite.
template <class T>
MatrixView<const T> find_rows_in_place(const InputMatrix& source, const RowSelection& rows);
template <class T>
MatrixView<const T> rows_in_place(const InputMatrix& source, const RowSelection& rows) {
    return are_few<T>(source, rows) ? MatrixView<const T>{} : find_rows_in_place<T>(source, rows);
}

// Where a step will read these rows, more than once: where they lie, or in `copy`, which take_rows makes. Rows with
// gaps are copied, as they are on more pages, and rows of 2 KiB or a multiple, whose columns crowd into two sets of a
// cache.
template <class T>
MatrixView<const T> place_rows(const InputMatrix& source, const RowSelection& rows, const T* copy, std::size_t ldo) {
    const MatrixView<const T> in_place = rows_in_place<T>(source, rows);
    const bool copied =
        in_place.data == nullptr || in_place.ld != in_place.columns || column_sets(in_place.ld * sizeof(T)) <= 2;
    return copied ? MatrixView<const T>{copy, rows.count, source.columns, ldo} : in_place;
}

// Throws for rows in place as gather_rows does. The room for a copy is written where a number is not finite, or so
// large that its square is not.
template <class T>
void check_rows(const MatrixView<const T>& in_place, const InputMatrix& source, const RowSelection& rows, T* room,
                std::size_t ldo, const char* what, const Team& team, const Range* range);

// gather_rows for rows that have been placed: those in place are only checked.
template <class T>
void take_rows(const MatrixView<const T>& placed, const InputMatrix& source, const RowSelection& rows, T* copy,
               std::size_t ldo, const char* what, const Team& team, const Range* range = nullptr) {
    placed.data == copy ? gather_rows(source, rows, copy, ldo, what, team, range)
                        : check_rows(placed, source, rows, copy, ldo, what, team, range);
}

// Whether all elements are, and none so large that its square is not: so few that a copy of them costs nothing.
template <class T>
bool are_finite(const MatrixView<const T>& x);

// Whether each row of X·W + b begins with a finite number. It does not where the row of X has a NaN or an infinity,
// whatever the weights, zeros included. (Of a single column, not one so large that its square is not finite, either.)
template <class T>
bool are_sums_finite(const T* z, std::size_t ld, std::size_t rows) {
    if (ld == 1) return are_finite(MatrixView<const T>{z, rows, 1, 1});
    T excess = 0;
    for (const T* const end = z + rows * ld; z != end; z += ld) excess += *z - *z;
    return excess == T(0);
}

// The weights of a batch, in a unit near the largest: only their ratios count, and T can hold those, however large or
// small the weights are. The unit is a power of two, which costs no digits. (A double has to hold the total.)
struct WeightSum {
    double sum, unit;

    double total() const { return sum * unit; }
};

// Sample weights, in the unit of their sum; throws where one is not finite, or is negative and may not be. `wide` has
// room for all.
template <class T>
WeightSum gather_weights(const InputMatrix& source, const RowSelection& rows, T* out, double* wide,
                         bool negative = false);

// Whether one is not zero.
bool any_weight(const InputMatrix& source);

// Class indices; throws where one is not in [0, classes).
void gather_labels(const InputMatrix& source, const RowSelection& rows, std::int32_t* out, std::size_t classes);

}  // namespace fusednet
