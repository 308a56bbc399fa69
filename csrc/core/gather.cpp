#include "core/gather.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/buffer.h"
#include "core/check.h"
#include "kernels/dispatch.h"
#include "kernels/element_types.h"

namespace fusednet {

namespace {

// Of a matrix of one column.
template <class S>
S row_value(const InputMatrix& source, std::size_t row) {
    return element<S>(static_cast<const char*>(source.data) + static_cast<std::ptrdiff_t>(row) * source.row_stride);
}

SourceRows selected(const InputMatrix& source, const RowSelection& rows) {
    SourceRows a{source.data, source.dtype, source.row_stride, source.column_stride,
                 rows.index,  rows.first,   rows.count,        source.columns};
    if (source.standardization != nullptr) {
        a.mean = source.standardization->mean.data();
        a.inverse_deviation = source.standardization->inverse_deviation.data();
    }
    return a;
}

// body(part, its first row's number) for parts of the rows, each by another thread, if those have enough to do.
template <class Body>
void for_each_part(const RowSelection& rows, std::size_t row_bytes, const Team& team, const Body& body) {
    constexpr std::size_t enough = std::size_t{1} << 15;  // bytes for a thread
    const std::size_t parts = std::clamp<std::size_t>(rows.count * row_bytes / enough, 1, team.size());
    team.run(parts, [&](std::size_t task, std::size_t) {
        const RowSelection part = rows.part(task, parts);
        body(part, part.first - rows.first);
    });
}

// Throws naming the first element of these rows that is outside.
template <class T>
void check_range(const MatrixView<const T>& m, const RowSelection& rows, const char* what, const Range& range) {
    const T low = static_cast<T>(range.low), high = static_cast<T>(range.high);
    for (std::size_t i = 0; i < m.rows; ++i) {
        const T* row = m.data + i * m.ld;
        int inside = 1;
        for (std::size_t j = 0; j < m.columns; ++j) inside &= (row[j] >= low ? 1 : 0) & (row[j] <= high ? 1 : 0);
        for (std::size_t j = 0; inside == 0 && j < m.columns; ++j) {
            check(row[j] >= low && row[j] <= high, what, ": expected values from ", low, " to ", high, ", received ",
                  row[j], " in row ", rows.row(i), ", column ", j);
        }
    }
}

}  // namespace

const char* dtype_name(DType dtype) {
    switch (dtype) {
        case DType::boolean: return "bool";
        case DType::int8: return "int8";
        case DType::int16: return "int16";
        case DType::int32: return "int32";
        case DType::int64: return "int64";
        case DType::uint8: return "uint8";
        case DType::uint16: return "uint16";
        case DType::uint32: return "uint32";
        case DType::uint64: return "uint64";
        case DType::float16: return "float16";
        case DType::float32: return "float32";
        case DType::float64: break;
    }
    return "float64";
}

template <class T>
void gather_rows(const InputMatrix& source, const RowSelection& rows, T* out, std::size_t ldo, const char* what,
                 const Range* range) {
    const std::size_t finite = kernels<T>().gather(selected(source, rows), out, ldo);
    for (std::size_t j = 0; finite < rows.count && j < source.columns; ++j) {
        const T x = out[finite * ldo + j];
        check(std::isfinite(x), what, ": expected finite values that fit ", dtype_name(dtype_of<T>), ", received ", x,
              " in row ", rows.row(finite), ", column ", j);
    }
    if (range != nullptr) check_range<T>({out, rows.count, source.columns, ldo}, rows, what, *range);
}

template <class T>
void gather_shared(const InputMatrix& source, const RowSelection& rows, T* out, std::size_t ldo, const char* what,
                   const Team& team, const Range* range) {
    for_each_part(rows, source.columns * sizeof(T), team, [&](const RowSelection& part, std::size_t at) {
        gather_rows(source, part, out + at * ldo, ldo, what, range);
    });
}

template <class T>
MatrixView<const T> find_rows_in_place(const InputMatrix& source, const RowSelection& rows) {
    const std::size_t n = source.columns, row_bytes = n * sizeof(T);
    const auto stride = static_cast<std::size_t>(std::max<std::ptrdiff_t>(source.row_stride, 0));
    // Rows of a tile that drive each other out of the first-level cache cost more than a copy.
    constexpr std::size_t ways = 8;
    if (stride < row_bytes || rows.index != nullptr || source.standardization != nullptr ||
        column_sets(stride) * ways < kernels<T>().tile_rows || !has_rows_of<T>(selected(source, rows)))
        return {};
    const std::size_t ld = stride / sizeof(T);
    return {static_cast<const T*>(source.data) + rows.first * ld, rows.count, n, ld};
}

template <class T>
bool are_finite(const MatrixView<const T>& x) {
    const std::size_t pieces = x.ld == x.columns ? 1 : x.rows;  // of memory, rows without a gap are one
    for (std::size_t i = 0; i < pieces; ++i) {
        if (!std::isfinite(kernels<T>().sum_squares(x.data + i * x.ld, x.rows * x.columns / pieces))) return false;
    }
    return true;
}

template <class T>
void check_rows(const MatrixView<const T>& in_place, const InputMatrix& source, const RowSelection& rows, T* room,
                std::size_t ldo, const char* what, const Team& team, const Range* range) {
    for_each_part(rows, source.columns * sizeof(T), team, [&](const RowSelection& part, std::size_t at) {
        const MatrixView<const T> some = in_place.from(at, part.count);
        if (!are_finite(some)) {
            gather_rows(source, part, room + at * ldo, ldo, what, range);
        } else if (range != nullptr) {
            check_range(some, part, what, *range);
        }
    });
}

namespace {

constexpr std::size_t line = 64;

std::size_t row_bytes(const InputMatrix& source) { return source.columns * element_bytes(source.dtype); }

// None where a row is not in one piece, or where the matrix is so small that it is near anyway. Short rows that follow
// each other are one: line by line they are fewer.
RowList rows_to_fetch(const InputMatrix& source, const RowSelection& rows) {
    const std::size_t element = element_bytes(source.dtype), bytes = source.columns * element;
    if (source.rows * bytes <= near_bytes || source.column_stride != static_cast<std::ptrdiff_t>(element)) return {};
    const auto* const data = static_cast<const char*>(source.data);
    if (bytes < 2 * line && rows.index == nullptr && source.row_stride == static_cast<std::ptrdiff_t>(bytes))
        return {data + rows.first * bytes, 0, nullptr, 0, 1, rows.count * bytes};
    return {data, source.row_stride, rows.index, rows.first, rows.count, bytes};
}

}  // namespace

ReadAhead plan_read_ahead(const InputMatrix& x, const InputMatrix& y, const RowSelection& rows, double flops) {
    constexpr std::size_t room = std::size_t{3} << 17;  // bytes of the second-level cache
    const std::size_t inputs = row_bytes(x), targets = row_bytes(y);
    ReadAhead ahead{rows_to_fetch(x, rows), {}};
    // Of few targets many rows are on one line: the processor sees in time where they go on, unless they are a page.
    const bool late = targets >= 2 * line || rows.count * targets >= page;
    if (late && rows.count * (inputs + targets) <= room) ahead.others = rows_to_fetch(y, rows);
    // All lines, spread over register tiles of so many flops, and a quarter more, so that the last are there in time;
    // no more, as what comes early is gone again from a cache that large weights go through. (Tiles of a deep product
    // are up to five times as large, and so bring in but some of the lines: as good, for the processor sees by itself
    // where long rows go on.) The processor has room for a dozen on their way; with twice as many it waits, but for
    // less than it would for those left behind. Of inputs that are large beside the products tiles are interrupted for
    // them: twice as often as would do, but then not before memory has brought those of the burst before, some `busy`
    // flops later.
    constexpr double tile = 1 << 17, most = 24, busy = 5800;
    const std::size_t bytes = ahead.rows.count * ahead.rows.bytes + ahead.others.count * ahead.others.bytes;
    const double wanted = static_cast<double>(bytes) / line * tile / flops;
    ahead.burst = static_cast<std::size_t>(std::clamp(1.25 * wanted, 3.0, most));
    const double each = tile * most / wanted;
    ahead.flops = wanted > most ? static_cast<std::size_t>(std::min(each, std::max(each / 2, busy))) : 0;
    ahead.uncached = x.rows * inputs > std::size_t{1} << 24;
    return ahead;
}

void gather_labels(const InputMatrix& source, const RowSelection& rows, std::int32_t* out, std::size_t classes) {
    with_type(source.dtype, [&](auto tag) {
        using S = decltype(tag);
        bool inside = true;  // a negative label, too, is more than there are classes, without its sign
        for (std::size_t i = 0; i < rows.count; ++i) {
            const auto wide = static_cast<std::int64_t>(row_value<S>(source, rows.row(i)));
            inside &= static_cast<std::uint64_t>(wide) < classes;
            out[i] = static_cast<std::int32_t>(wide);
        }
        for (std::size_t i = 0; !inside && i < rows.count; ++i) {
            const S label = row_value<S>(source, rows.row(i));
            check(static_cast<std::uint64_t>(static_cast<std::int64_t>(label)) < classes,
                  "y: expected class labels from 0 to ", classes - 1, ", received ", +label, " in row ", rows.row(i));
        }
    });
}

template <class T>
WeightSum gather_weights(const InputMatrix& source, const RowSelection& rows, T* out, double* wide, bool negative) {
    const Range range{0.0, std::numeric_limits<double>::infinity()};
    gather_rows(source, rows, wide, 1, "sample_weight", negative ? nullptr : &range);
    double largest = 0;
    for (std::size_t i = 0; i < rows.count; ++i) largest = std::max(largest, std::abs(wide[i]));
    WeightSum weights{0, largest > 0 ? std::ldexp(1.0, std::ilogb(largest)) : 1.0};
    for (std::size_t i = 0; i < rows.count; ++i) {
        out[i] = static_cast<T>(wide[i] / weights.unit);
        weights.sum += static_cast<double>(out[i]);
    }
    return weights;
}

bool any_weight(const InputMatrix& source) {
    return with_type(source.dtype, [&](auto tag) {
        for (std::size_t i = 0; i < source.rows; ++i) {
            if (static_cast<double>(row_value<decltype(tag)>(source, i)) != 0) return true;
        }
        return false;
    });
}

#define FUSEDNET_INSTANTIATE(T)                                                                                        \
    template void gather_rows<T>(const InputMatrix&, const RowSelection&, T*, std::size_t, const char*, const Range*); \
    template void gather_shared<T>(const InputMatrix&, const RowSelection&, T*, std::size_t, const char*, const Team&, \
                                   const Range*);                                                                      \
    template MatrixView<const T> find_rows_in_place<T>(const InputMatrix&, const RowSelection&);                       \
    template void check_rows<T>(const MatrixView<const T>&, const InputMatrix&, const RowSelection&, T*, std::size_t,  \
                                const char*, const Team&, const Range*);                                               \
    template bool are_finite<T>(const MatrixView<const T>&);                                                           \
    template WeightSum gather_weights<T>(const InputMatrix&, const RowSelection&, T*, double*, bool);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
