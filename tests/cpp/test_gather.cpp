// From a caller's arrays of any type and strides into the workspace, and what is refused.
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/check.h"
#include "core/gather.h"
#include "core/loss.h"
#include "kernels/element_types.h"
#include "support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

struct Strides {
    std::ptrdiff_t row, column;  // bytes
    std::size_t shift;           // of the first element
};

// By rows: without gaps, with gaps, reversed, both ways, out of line; and by columns.
std::vector<Strides> all_strides(std::size_t rows, std::size_t columns, std::size_t bytes) {
    const auto size = static_cast<std::ptrdiff_t>(bytes), n = static_cast<std::ptrdiff_t>(columns) * size,
               m = static_cast<std::ptrdiff_t>(rows) * size;
    return {{n, size, 0},
            {2 * n + size, 2 * size, 0},
            {-n, size, 0},
            {-n, -size, 0},
            {2 * n + 1, size + 1, 1},
            {n, size, 1},
            {size, m + size, 0},
            {-size, m, 0},
            {2 * size, 2 * m + size, 0},
            {size + 1, 2 * m, 1},
            {0, size, 0}};
}

// rows × columns of S in memory of its own, beyond which nothing may be read. Element (i, j) is 3·i + j: of the last
// row where all are one.
template <class S>
struct Strided {
    std::size_t rows, columns;
    Strides strides;
    GuardedBytes bytes;

    Strided(std::size_t m, std::size_t n, const Strides& s)
        : rows(m), columns(n), strides(s), bytes(extent(m, s.row) + extent(n, s.column) + sizeof(S) + s.shift, 0xff) {
        for (std::size_t i = 0; i < m; ++i) {
            for (std::size_t j = 0; j < n; ++j) set(i, j, value(i, j));
        }
    }

    S value(std::size_t i, std::size_t j) const { return static_cast<S>(3 * (strides.row == 0 ? rows - 1 : i) + j); }

    void set(std::size_t i, std::size_t j, S x) {
        std::memcpy(const_cast<unsigned char*>(first()) + offset(i, strides.row) + offset(j, strides.column), &x,
                    sizeof(S));
    }

    SourceRows source(DType dtype, const std::int64_t* index, std::size_t start, std::size_t count) const {
        return {first(), dtype, strides.row, strides.column, index, start, count, columns};
    }

private:
    static std::ptrdiff_t offset(std::size_t i, std::ptrdiff_t stride) {
        return static_cast<std::ptrdiff_t>(i) * stride;
    }
    static std::size_t extent(std::size_t n, std::ptrdiff_t stride) {
        return static_cast<std::size_t>(std::abs(offset(n - 1, stride)));
    }
    const unsigned char* first() const {
        return bytes.data() + strides.shift + (strides.row < 0 ? extent(rows, strides.row) : 0) +
               (strides.column < 0 ? extent(columns, strides.column) : 0);
    }
};

struct Shape {
    std::size_t rows, columns;
};

// A row, short or of a vector and more; rows that fill a buffer several times or are longer than it; too few for blocks
// of columns; blocks that are whole, and that are not. Where the rows are even they are gathered without gaps.
const std::vector<Shape> shapes = {{1, 3}, {1, 40}, {5, 3}, {7, 20}, {9, 1}, {70, 1}, {130, 17}, {300, 4}, {3, 1030}};

template <class S, class T>
void check_all_strides(DType dtype) {
    CAPTURE(std::string(dtype_name(dtype)));
    std::vector<double> mean, inverse;
    for (std::size_t j = 0; j < 1030; ++j) {
        mean.push_back(0.1 * static_cast<double>(j) - 2.5);
        inverse.push_back(1e3 / static_cast<double>(j + 1));
    }
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const Shape& shape : shapes) {
            const std::size_t rows = shape.rows, columns = shape.columns;
            std::vector<std::int64_t> index;
            for (std::size_t i = 0; i < rows + 2; ++i) index.push_back(static_cast<std::int64_t>((7 * i + 1) % rows));
            for (const Strides& strides : all_strides(rows, columns, sizeof(S))) {
                const Strided<S> matrix(rows, columns, strides);
                const std::size_t last = rows - 1, some = rows - rows / 3;
                for (const SourceRows& selected :
                     {matrix.source(dtype, nullptr, 0, rows), matrix.source(dtype, nullptr, rows / 3, some),
                      matrix.source(dtype, nullptr, last, 1), matrix.source(dtype, index.data(), 0, rows + 2)}) {
                    CAPTURE(rows);
                    CAPTURE(columns);
                    CAPTURE(strides.row);
                    CAPTURE(strides.column);
                    Matrix<T> out = output<T>(selected.count, columns, rows % 2 * 2), scaled = out;
                    CHECK(kernels.gather(selected, out.data(), out.ld()) == selected.count);
                    SourceRows standardized = selected;
                    standardized.mean = mean.data();
                    standardized.inverse_deviation = inverse.data();
                    CHECK(kernels.gather(standardized, scaled.data(), scaled.ld()) == selected.count);
                    CHECK(out.untouched());
                    CHECK(scaled.untouched());
                    bool same = true;
                    for (std::size_t i = 0; i < selected.count; ++i) {
                        const std::size_t row =
                            selected.index != nullptr ? static_cast<std::size_t>(index[i]) : selected.first + i;
                        for (std::size_t j = 0; j < columns; ++j) {
                            const S value = matrix.value(row, j);
                            same &= out(i, j) == static_cast<T>(value);
                            same &= scaled(i, j) == static_cast<T>((static_cast<double>(value) - mean[j]) * inverse[j]);
                        }
                    }
                    CHECK(same);
                }
            }
        }
    });
}

// The first row that is not finite is found wherever it is: a number in it, or the quotient by a deviation.
template <class S, class T>
void check_finite() {
    constexpr DType dtype = dtype_of<S>;
    for_each_table<T>([](const KernelTable<T>& kernels) {
        for (const Shape& shape : shapes) {
            const std::size_t rows = shape.rows, columns = shape.columns;
            const std::vector<double> zeros(columns), ones(columns, 1.0);
            for (const Strides& strides : all_strides(rows, columns, sizeof(S))) {
                if (strides.row == 0) continue;
                Strided<S> matrix(rows, columns, strides);
                Matrix<T> out = output<T>(rows + 1, columns, rows % 2 * 2);
                const auto expect = [&](std::size_t finite, const SourceRows& plain) {
                    CAPTURE(rows);
                    CAPTURE(columns);
                    CAPTURE(strides.row);
                    CAPTURE(strides.column);
                    SourceRows standardized = plain;
                    standardized.mean = zeros.data();
                    standardized.inverse_deviation = ones.data();
                    for (const SourceRows& selected : {plain, standardized})
                        CHECK(kernels.gather(selected, out.data(), out.ld()) == finite);
                };
                const std::size_t row = rows / 2;
                for (const S bad : {quiet_nan<S>, infinity<S>, -infinity<S>}) {
                    for (const std::size_t column : Sizes{0, columns / 2, columns - 1}) {
                        matrix.set(row, column, bad);
                        matrix.set(rows - 1, 0, bad);
                        expect(row, matrix.source(dtype, nullptr, 0, rows));
                        const std::vector<std::int64_t> index = {0, static_cast<std::int64_t>(rows - 1)};
                        expect(rows == 1 ? 0 : 1, matrix.source(dtype, index.data(), 0, 2));
                        matrix.set(row, column, matrix.value(row, column));
                        matrix.set(rows - 1, 0, matrix.value(rows - 1, 0));
                    }
                }
                std::vector<double> huge(columns, 1.0);
                huge.back() = std::numeric_limits<double>::max();
                matrix.set(0, columns - 1, S(2));
                SourceRows overflowing = matrix.source(dtype, nullptr, 0, rows);
                overflowing.mean = zeros.data();
                overflowing.inverse_deviation = huge.data();
                CHECK(kernels.gather(overflowing, out.data(), out.ld()) == 0);
            }
        }
    });
}

template <class T>
InputMatrix column(const std::vector<T>& v, DType dtype) {
    return {
        v.data(), dtype, v.size(), 1, static_cast<std::ptrdiff_t>(sizeof(T)), static_cast<std::ptrdiff_t>(sizeof(T))};
}

}  // namespace

TEST_CASE("few rows that follow each other are not read ahead") {
    constexpr std::ptrdiff_t size = sizeof(float);
    const float value = 0;  // never read
    const InputMatrix y{&value, DType::float32, 100000, 2, 2 * size, size};
    InputMatrix x{&value, DType::float32, 100000, 30, 30 * size, size};
    const std::int64_t order[] = {0};
    CHECK(come_by_themselves(x, y, {nullptr, 5, 15}));  // 32 numbers each: 1,920 bytes
    CHECK(!come_by_themselves(x, y, {nullptr, 5, 16}));
    CHECK(!come_by_themselves(x, y, {order, 0, 1}));
    InputMatrix reversed = y;
    reversed.row_stride = -reversed.row_stride;
    CHECK(!come_by_themselves(x, reversed, {nullptr, 5, 1000}));
    x.row_stride += size;
    CHECK(!come_by_themselves(x, y, {nullptr, 5, 1}));
}

TEST_CASE("what is read ahead: rows of large matrices in one piece, and of the targets too where both are few") {
    constexpr std::size_t rows = 10000, columns = 32, targets = 64;
    const std::vector<float> values(rows * targets);
    const InputMatrix x{values.data(), DType::float32, rows, columns, columns * sizeof(float), sizeof(float)};
    const InputMatrix y{values.data(), DType::float32, rows, targets, targets * sizeof(float), sizeof(float)};
    const auto plan = [&](const InputMatrix& inputs, const InputMatrix& outputs, std::size_t count, double flops) {
        return plan_read_ahead(inputs, outputs, {nullptr, 5, count}, flops);
    };
    const ReadAhead few = plan(x, y, 64, 1e9);
    CHECK(few.rows.first == 5);
    CHECK(few.rows.count == 64);
    CHECK(few.rows.bytes == 128);
    CHECK(few.others.count == 64);
    CHECK(few.others.bytes == 256);
    CHECK(few.burst == 3);
    CHECK(few.flops == 0);
    CHECK(!few.uncached);
    CHECK(plan(x, y, 2000, 1e9).others.count == 0);
    InputMatrix other = y;
    other.columns = 16;  // a line: from a page on
    CHECK(plan(x, other, 63, 1e9).others.count == 0);
    CHECK(plan(x, other, 64, 1e9).others.count == 64);
    CHECK(plan(x, {}, 64, 1e9).others.count == 0);
    // 384 lines in the time of 32 tiles, a quarter more than twelve each.
    CHECK(plan(x, y, 64, 1 << 22).burst == 15);
    // In the time of four tiles, a burst of 24 for every 2^15 flops: twice as often, but not too often.
    const ReadAhead many = plan(x, y, 64, 1 << 19);
    CHECK(many.burst == 24);
    CHECK(many.flops == 1 << 14);
    CHECK(plan(x, y, 64, 1 << 17).flops == 5800);
    CHECK(plan(x, y, 64, 1 << 16).flops == 1 << 12);
    other = x;
    other.rows = 2048;  // 256 KiB
    CHECK(plan(other, {}, 64, 1e9).rows.count == 0);
    other = x;
    other.column_stride *= 2;
    CHECK(plan(other, y, 64, 1e9).rows.count == 0);
    // Rows of half a line that follow each other, and such that do not.
    other = {values.data(), DType::float32, 4 * rows, 8, 8 * sizeof(float), sizeof(float)};
    const RowList together = plan(other, {}, 64, 1e9).rows;
    CHECK(together.data == reinterpret_cast<const char*>(values.data() + 40));
    CHECK(together.count == 1);
    CHECK(together.bytes == 64 * 32);
    other.row_stride *= 2;
    CHECK(plan(other, {}, 64, 1e9).rows.count == 64);
    other = x;
    other.rows = 140'000;
    CHECK(plan(other, y, 64, 1e9).uncached);
}

TEST_CASE_TEMPLATE("every type at every stride", T, float, double) {
    check_all_strides<bool, T>(DType::boolean);
    check_all_strides<std::int8_t, T>(DType::int8);
    check_all_strides<std::int16_t, T>(DType::int16);
    check_all_strides<std::int32_t, T>(DType::int32);
    check_all_strides<std::int64_t, T>(DType::int64);
    check_all_strides<std::uint8_t, T>(DType::uint8);
    check_all_strides<std::uint16_t, T>(DType::uint16);
    check_all_strides<std::uint32_t, T>(DType::uint32);
    check_all_strides<std::uint64_t, T>(DType::uint64);
    check_all_strides<float, T>(DType::float32);
    check_all_strides<double, T>(DType::float64);
}

TEST_CASE_TEMPLATE("rows that are not finite, in every order", T, float, double) {
    check_finite<float, T>();
    check_finite<double, T>();
}

TEST_CASE_TEMPLATE("every kind of half-precision number", T, float, double) {
    // 1, −2, the largest; the smallest normal and subnormal; −0; infinity and NaN.
    const std::vector<std::uint16_t> bits = {0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00, 0xfe00};
    const std::vector<double> expected = {1.0, -2.0, 65504.0, 0x1p-14, 0x1p-24, -0.0};
    std::vector<T> out(bits.size());
    gather_rows(column(bits, DType::float16), {nullptr, 0, 6}, out.data(), 1, "X");
    for (std::size_t i = 0; i < 6; ++i) CHECK(static_cast<double>(out[i]) == expected[i]);
    CHECK(std::signbit(out[5]));
    for (const std::size_t i : {6u, 7u}) {
        CHECK_THROWS_AS(gather_rows(column(bits, DType::float16), {nullptr, i, 1}, out.data(), 1, "X"),
                        std::invalid_argument);
    }
}

TEST_CASE("values that are not finite, or do not fit, are named by row and column") {
    std::vector<double> values = {1, 2, 3, 4, 5, 6};
    const InputMatrix x = {values.data(), DType::float64, 3, 2, 16, 8};
    std::vector<float> out(6);
    const auto gather = [&] { gather_rows(x, {nullptr, 0, 3}, out.data(), 2, "X"); };
    gather();
    values[3] = 1e39;  // beyond float32
    CHECK_THROWS_WITH_AS(gather(), doctest::Contains("float32, received inf in row 1, column 1"),
                         std::invalid_argument);
    std::vector<double> wide(6);
    gather_rows(x, {nullptr, 0, 3}, wide.data(), 2, "X");
    values[3] = quiet_nan<double>;
    const std::int64_t index[] = {0, 2, 1};
    CHECK_THROWS_WITH_AS(gather_rows(x, {index, 0, 3}, wide.data(), 2, "X"),
                         doctest::Contains("float64, received nan in row 1, column 1"), std::invalid_argument);
}

TEST_CASE("targets and weights outside a loss's domain") {
    const std::vector<float> values = {0, 0.5f, 1, 1.5f};
    const InputMatrix y = column(values, DType::float32);
    std::vector<float> out(4);
    std::vector<double> wide(4);
    const auto gather = [&](const InputMatrix& from, std::size_t rows, Loss loss) {
        gather_rows(from, {nullptr, 0, rows}, out.data(), 1, "y", target_range(loss));
    };
    for (const Loss loss : {Loss::mse, Loss::poisson}) gather(y, 4, loss);
    for (const Loss loss : {Loss::binary_cross_entropy, Loss::cross_entropy}) {
        gather(y, 3, loss);
        CHECK_THROWS_WITH_AS(gather(y, 4, loss),
                             doctest::Contains("expected values from 0 to 1, received 1.5 in row 3"),
                             std::invalid_argument);
    }
    const std::vector<float> negative = {1, -0.25f};
    CHECK_THROWS_AS(gather(column(negative, DType::float32), 2, Loss::poisson), std::invalid_argument);
    CHECK_THROWS_WITH_AS(gather_weights(column(negative, DType::float32), {nullptr, 0, 2}, out.data(), wide.data()),
                         doctest::Contains("sample_weight"), std::invalid_argument);
}

TEST_CASE_TEMPLATE("weights of any size keep their ratios and their sum", T, float, double) {
    for (const double unit : {0x1p-1074, 0x1p-140, 1.0, 0x1p140, 0x1p1000}) {
        const std::vector<double> values = {3 * unit, 0, unit};
        std::vector<T> out(3);
        std::vector<double> wide(3);
        const WeightSum sum = gather_weights(column(values, DType::float64), {nullptr, 0, 3}, out.data(), wide.data());
        CHECK(out == std::vector<T>{T(1.5), T(0), T(0.5)});
        CHECK(sum.sum == 2);
        CHECK(sum.total() == 4 * unit);
    }
    const std::vector<double> zeros(3);
    std::vector<T> out(3, T(1));
    std::vector<double> wide(3);
    CHECK(gather_weights(column(zeros, DType::float64), {nullptr, 0, 3}, out.data(), wide.data()).total() == 0);
    CHECK(out == std::vector<T>(3));
}

TEST_CASE_TEMPLATE("every byte of a boolean but zero is true", T, float, double) {
    const std::vector<std::uint8_t> bytes = {0, 1, 2, 255};
    std::vector<T> out(4);
    gather_rows(column(bytes, DType::boolean), {nullptr, 0, 4}, out.data(), 1, "X");
    CHECK(out == std::vector<T>{0, 1, 1, 1});
}

TEST_CASE("labels of any integer type, in range") {
    std::vector<std::int32_t> out(3);
    const std::vector<std::uint8_t> bytes = {0, 9, 3};
    gather_labels(column(bytes, DType::uint8), {nullptr, 0, 3}, out.data(), 10);
    CHECK(out == std::vector<std::int32_t>{0, 9, 3});
    CHECK_THROWS_WITH_AS(gather_labels(column(bytes, DType::uint8), {nullptr, 0, 3}, out.data(), 9),
                         doctest::Contains("expected class labels from 0 to 8, received 9 in row 1"),
                         std::invalid_argument);
    const std::vector<std::int64_t> wide = {-1, std::int64_t{1} << 40};
    for (const std::size_t row : Sizes{0, 1}) {
        CHECK_THROWS_AS(gather_labels(column(wide, DType::int64), {nullptr, row, 1}, out.data(), 10),
                        std::invalid_argument);
    }
    const std::vector<std::uint64_t> huge = {~std::uint64_t{0}};
    CHECK_THROWS_WITH_AS(gather_labels(column(huge, DType::uint64), {nullptr, 0, 1}, out.data(), 10),
                         doctest::Contains("received 18446744073709551615"), std::invalid_argument);
}
