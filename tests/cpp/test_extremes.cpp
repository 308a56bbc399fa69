// Products of what has no parts in bfloat16, in matrices of which AMX makes such: infinities, numbers near the largest,
// numbers near and below the least normal one, beside ordinary ones.
#include <vector>

#include "support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

constexpr std::size_t rows = 70, depth = 100, columns = 130;

// A product's factors, (rows, depth) and (depth, columns), as functions of the indices.
template <class T, class Body>
void each_product(const Matrix<T>& x, const Matrix<T>& w, Body body) {
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        {
            Matrix<T> y = padded<T>(Matrix<T>::Role::output, rows, columns, kernels.lanes),
                      panel = output<T>(1, kernels.panel_size(depth));
            kernels.dense_forward({x.data(), x.ld(), w.data(), w.ld(), nullptr, y.data(), y.ld(), nullptr, rows, depth,
                                   columns, Activation::identity, panel.data()});
            INFO("forward");
            body(y);
        }
        {
            Matrix<T> turned = operand<T>(columns, depth),
                      y = padded<T>(Matrix<T>::Role::output, rows, columns, kernels.lanes),
                      scratch = output<T>(1, kernels.input_scratch(rows, depth));
            for (std::size_t j = 0; j < columns; ++j) {
                for (std::size_t p = 0; p < depth; ++p) turned(j, p) = w(p, j);
            }
            kernels.input_gradient({x.data(), x.ld(), turned.data(), turned.ld(), y.data(), y.ld(), nullptr, nullptr,
                                    y.ld(), rows, columns, depth, Activation::identity, scratch.data()});
            INFO("input gradient");
            body(y);
        }
        // Stored; and added to W where it is, of which no row may receive it twice.
        for (const bool update : {false, true}) {
            Matrix<T> turned = operand<T>(depth, rows), y = output<T>(rows, columns),
                      dz = copied(w, padded<T>(Matrix<T>::Role::operand, depth, columns, kernels.lanes)),
                      scratch = output<T>(1, kernels.weight_scratch(depth, columns));
            for (std::size_t p = 0; p < depth; ++p) {
                for (std::size_t i = 0; i < rows; ++i) turned(p, i) = x(i, p);
            }
            for (std::size_t i = 0; i < rows; ++i) std::fill_n(&y(i, 0), columns, T(0));
            kernels.weight_gradient({turned.data(), turned.ld(), dz.data(), dz.ld(), y.data(), y.data(), y.ld(), depth,
                                     rows, columns, T(1), T(0), update, scratch.data(), rows, false, false});
            INFO("weight gradient");
            body(y);
        }
    });
}

// Checks the rows of a product but `left_out`. Of each factor the last digits may be lost below the least normal
// number.
template <class T>
void check_rows(const Matrix<T>& x, const Matrix<T>& w, const Matrix<T>& y, std::size_t left_out) {
    constexpr Wide<T> least = std::numeric_limits<T>::min();
    for (std::size_t i = 0; i < rows; ++i) {
        if (i == left_out) continue;
        for (std::size_t j = 0; j < columns; ++j) {
            Wide<T> sum = 0, bound = 0;
            for (std::size_t p = 0; p < depth; ++p) {
                const Wide<T> a = x(i, p), b = w(p, j);
                sum += a * b;
                bound += 8 * epsilon<T> * std::abs(a * b) + least * (1 + std::abs(a) + std::abs(b));
            }
            CHECK(std::abs(y(i, j) - sum) <= bound);
        }
    }
}

}  // namespace

TEST_CASE_TEMPLATE("a row with an infinite element is infinite, and no other", T, float, double) {
    Random random(1);
    for (const std::size_t row : {std::size_t{0}, std::size_t{40}, rows - 1}) {
        Matrix<T> x = operand<T>(rows, depth).fill(random), w = operand<T>(depth, columns).fill(random, 1, 2);
        x(row, depth / 2) = -infinity<T>;
        each_product(x, w, [&](const Matrix<T>& y) {
            for (std::size_t j = 0; j < columns; ++j) CHECK(y(row, j) == -infinity<T>);
            check_rows(x, w, y, row);
        });
    }
}

TEST_CASE_TEMPLATE("a column with a NaN is NaN, and no other", T, float, double) {
    Random random(2);
    constexpr std::size_t column = 77;
    Matrix<T> x = operand<T>(rows, depth).fill(random), w = operand<T>(depth, columns).fill(random);
    w(depth - 1, column) = quiet_nan<T>;
    each_product(x, w, [&](const Matrix<T>& y) {
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) CHECK(std::isnan(y(i, j)) == (j == column));
        }
    });
}

TEST_CASE_TEMPLATE("products with the largest number", T, float, double) {
    Random random(3);
    Matrix<T> x = operand<T>(rows, depth).fill(random), w = operand<T>(depth, columns).fill(random, -0.5, 0.5);
    x(50, 3) = std::numeric_limits<T>::max();
    each_product(x, w, [&](const Matrix<T>& y) { check_rows(x, w, y, rows); });
}

TEST_CASE_TEMPLATE("products of numbers of all sizes", T, float, double) {
    Random random(4);
    Matrix<T> x = operand<T>(rows, depth), w = operand<T>(depth, columns).fill(random);
    constexpr int lowest = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
    for (Matrix<T>* factor : {&x, &w}) {
        for (std::size_t i = 0; i < factor->rows(); ++i) {
            for (std::size_t j = 0; j < factor->columns(); ++j) {
                const int exponent = static_cast<int>(random.uniform(lowest, 3));
                (*factor)(i, j) = std::ldexp(static_cast<T>(random.uniform(-1, 1)), exponent);
            }
        }
    }
    each_product(x, w, [&](const Matrix<T>& y) { check_rows(x, w, y, rows); });
}

// A step by rows goes on with AVX-512's where X is not finite, whichever way it goes.
TEST_CASE_TEMPLATE("a step by a gradient with an infinite row", T, float, double) {
    struct Way {
        UpdateRule rule;
        bool backward;
        std::size_t row;  // 10 is in AMX's first block of rows, 40 in its second, to which a step backward comes first
    };
    for (const Way& way : {Way{UpdateRule::momentum, false, 40},
                           {UpdateRule::adam, false, 40},
                           {UpdateRule::adam, true, 40},
                           {UpdateRule::adam, true, 10}}) {
        Random random(5);
        const std::size_t row = way.row;
        Matrix<T> x = operand<T>(depth, rows).fill(random);
        x(depth / 2, row) = infinity<T>;
        const Matrix<T> w = output<T>(rows, columns).fill(random);
        const UpdateArguments arguments{way.rule, 0.1, 0.0, 0.9, 0.999, 1e-8, 0.1, 0.001, false, way.backward};
        std::vector<Matrix<T>> results;
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> dz = padded<T>(Matrix<T>::Role::operand, depth, columns, kernels.lanes), y = w;
            Random same(6);
            dz.fill(same, 1, 2);
            Matrix<T> gradient = output<T>(rows, columns), first = output<T>(rows, columns),
                      second = output<T>(rows, columns), scratch = output<T>(1, kernels.weight_scratch(depth, columns));
            for (Matrix<T>* moment : {&first, &second}) std::fill_n(moment->data(), rows * columns, T(0));
            kernels.weight_step({x.data(), x.ld(), dz.data(), dz.ld(), y.data(), gradient.data(), y.ld(), depth, rows,
                                 columns, T(1), T(0), false, scratch.data(), rows, false, false},
                                {&arguments, y.data(), first.data(), second.data()});
            CHECK(scratch.untouched());
            results.push_back(y);
            for (std::size_t i = 0; i < rows; ++i) {
                for (std::size_t j = 0; j < columns; ++j) {
                    if (i == row) {
                        CHECK(!std::isfinite(y(i, j)));
                    } else {
                        CHECK(std::abs(y(i, j) - results.front()(i, j)) <= 1000 * epsilon<T>);
                    }
                }
            }
        });
    }
}

TEST_CASE_TEMPLATE("the depth in two parts, with an infinite element", T, float, double) {
    Random random(7);
    constexpr std::size_t row = 33, half = depth / 2;
    Matrix<T> x = operand<T>(rows, depth).fill(random), w = operand<T>(depth, columns).fill(random, 1, 2);
    x(row, depth - 1) = infinity<T>;
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        Matrix<T> y = padded<T>(Matrix<T>::Role::output, rows, columns, kernels.lanes),
                  panel = output<T>(1, kernels.panel_size(depth));
        for (const std::size_t first : {std::size_t{0}, half}) {
            kernels.dense_forward({x.data() + first, x.ld(), w.data() + first * w.ld(), w.ld(), nullptr, y.data(),
                                   y.ld(), nullptr, rows, half, columns, Activation::identity, panel.data(), nullptr,
                                   first > 0});
        }
        for (std::size_t j = 0; j < columns; ++j) CHECK(y(row, j) == infinity<T>);
        check_rows(x, w, y, row);
    });
}
