// The products of a layer's forward pass and of its input's gradient against plain loops, below, at and above the
// tiles; what they may touch; and that a result has the same bits whole and in blocks.
#include "products.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

constexpr Activation hidden_activations[] = {
    Activation::identity, Activation::sigmoid, Activation::tanh, Activation::relu,     Activation::leaky_relu,
    Activation::elu,      Activation::gelu,    Activation::silu, Activation::softplus, Activation::exp};

// Y = f(X·W + b) of one kernel set.
template <class T>
struct Forward {
    const KernelTable<T>& kernels;
    const Matrix<T>&x, &w;
    const T* bias;
    bool reading = false;
    Zen zen = Zen::none;
    Place place = Place::unknown;

    void operator()(Matrix<T>& y, Activation f = Activation::identity, T* derivative = nullptr) const {
        block(y, f, derivative, 0, x.rows(), 0, w.columns());
    }
    void block(Matrix<T>& y, Activation f, T* derivative, std::size_t row, std::size_t rows, std::size_t column,
               std::size_t columns) const {
        part(y, f, derivative, row, rows, column, columns, 0, w.rows());
    }
    // Some of the depth first, then the rest.
    void in_parts(Matrix<T>& y, Activation f, T* derivative, std::size_t depth) const {
        part(y, Activation::identity, nullptr, 0, x.rows(), 0, w.columns(), 0, depth);
        part(y, f, derivative, 0, x.rows(), 0, w.columns(), depth, w.rows());
    }
    void part(Matrix<T>& y, Activation f, T* derivative, std::size_t row, std::size_t rows, std::size_t column,
              std::size_t columns, std::size_t first, std::size_t end) const {
        Matrix<T> panel = output<T>(1, kernels.panel_size(end - first));
        const std::size_t offset = row * y.ld() + column;
        ReadAhead ahead = rows_to_read(1000);
        kernels.dense_forward({x.data() + row * x.ld() + first, x.ld(), w.data() + first * w.ld() + column, w.ld(),
                               bias != nullptr ? bias + column : nullptr, y.data() + offset, y.ld(),
                               derivative != nullptr ? derivative + offset : nullptr, rows, end - first, columns, f,
                               panel.data(), reading ? &ahead : nullptr, first > 0, zen, place, x.rows()});
        CHECK(panel.untouched());
    }
};

// dX = (dZ·Wᵀ) ∘ f'(saved) ∘ mask.
template <class T>
struct Input {
    const KernelTable<T>& kernels;
    const Matrix<T>&dz, &w;
    const Matrix<T>*saved = nullptr, *mask = nullptr;
    Zen zen = Zen::none;

    void operator()(Matrix<T>& dx, Activation f = Activation::identity) const {
        block(dx, f, 0, dz.rows(), 0, w.rows());
    }
    void block(Matrix<T>& dx, Activation f, std::size_t row, std::size_t rows, std::size_t column,
               std::size_t columns) const {
        Matrix<T> scratch = output<T>(1, kernels.input_scratch(rows, w.columns()));
        const std::size_t offset = row * dx.ld() + column;
        kernels.input_gradient({dz.data() + row * dz.ld(), dz.ld(), w.data() + column * w.ld(), w.ld(),
                                dx.data() + offset, dx.ld(), saved != nullptr ? saved->data() + offset : nullptr,
                                mask != nullptr ? mask->data() + offset : nullptr, dx.ld(), rows, columns, w.columns(),
                                f, scratch.data(), nullptr, zen, dz.rows()});
        CHECK(scratch.untouched());
    }
};

}  // namespace

TEST_CASE_TEMPLATE("dense_forward is X·W + b", T, float, double) {
    Random random(1);
    for_each_shape([&](const Shape& s) {
        Matrix<T> x = operand<T>(s.rows, s.depth, s.gap).fill(random),
                  w = operand<T>(s.depth, s.columns, s.gap).fill(random);
        const Matrix<T> b = operand<T>(1, s.columns).fill(random);
        for (const T* bias : {b.data(), static_cast<const T*>(nullptr)}) {
            // The bias is one more step of the depth, times one.
            const Product<T> reference(
                s.rows, s.columns, s.depth + 1, [&](auto i, auto p) { return p < s.depth ? x(i, p) : T(1); },
                [&](auto p, auto j) { return p < s.depth       ? w(p, j)
                                             : bias != nullptr ? b(0, j)
                                                               : T(0); });
            for_each_table<T>([&](const KernelTable<T>& kernels) {
                const Forward<T> forward{kernels, x, w, bias};
                const Matrix<T> blank = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes, s.gap);
                Matrix<T> y = blank, pieces = blank;
                forward(y);
                CHECK(reference.error(y) <= 1);
                CHECK(y.untouched());
                for (const Zen zen : {Zen::four, Zen::five}) {
                    const bool reading = zen == Zen::five;  // and what is fetched meanwhile
                    Matrix<T> other = blank;
                    Forward<T>{kernels, x, w, bias, reading, zen}(other);
                    CHECK(other == y);
                    CHECK(other.untouched());
                }
                for (const Place place : {Place::near, Place::far}) {
                    Matrix<T> other = blank;
                    Forward<T>{kernels, x, w, bias, false, Zen::none, place}(other);
                    CHECK(other == y);
                    CHECK(other.untouched());
                }
                for_each_piece(s.rows, 1, [&](std::size_t row, std::size_t rows) {
                    for_each_piece(s.columns, kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                        forward.block(pieces, Activation::identity, nullptr, row, rows, column, columns);
                    });
                });
                CHECK(pieces.untouched());
                // A single row may take another road than a row among many, but a block of columns may not.
                CHECK(pieces == y);
                if (s.columns == 1 || s.depth == 1) return;
                for (const Zen zen : {Zen::none, Zen::four, Zen::five}) {
                    const Forward<T> other{kernels, x, w, bias, false, zen};
                    other.in_parts(pieces, Activation::identity, nullptr, (s.depth + 1) / 2);
                    CHECK(reference.error(pieces) <= 1);
                    CHECK(pieces.untouched());
                    if (s.columns % kernels.lanes == 0 && s.rows < kernels.many_rows) CHECK(pieces == y);
                }
            });
        }
    });
}

TEST_CASE_TEMPLATE("dense_forward takes an infinite input to infinite outputs", T, float, double) {
    const T infinite = std::numeric_limits<T>::infinity();
    Random random(3);
    for (const std::size_t columns : sizes) {
        for (const std::size_t depth : {1u, 2u, 3u, 257u}) {
            for (const std::size_t rows : {3u, columns == 1 ? 140u : 20u}) {
                Matrix<T> x = operand<T>(rows, depth).fill(random), w = operand<T>(depth, columns).fill(random, 1, 2);
                x(1, depth - 1) = infinite;  // hidden activations may be: exp overflows
                for_each_table<T>([&](const KernelTable<T>& kernels) {
                    Matrix<T> y = padded<T>(Role<T>::output, rows, columns, kernels.lanes, 0);
                    Forward<T>{kernels, x, w, nullptr}(y);
                    for (std::size_t i = 0; i < rows; ++i) {
                        for (std::size_t j = 0; j < columns; ++j)
                            CHECK((i == 1 ? y(i, j) == infinite : std::isfinite(y(i, j))));
                    }
                });
            }
        }
    }
}

// Sums of products that vanish: −0 or 0, whichever it is for the row by itself.
TEST_CASE_TEMPLATE("a row has the same zeros by itself and among others", T, float, double) {
    constexpr T least = std::numeric_limits<T>::min();
    for (const std::size_t columns : {1u, 2u, 5u, 10u}) {
        for (const std::size_t depth : {1u, 3u, 496u, 497u, 509u}) {
            Matrix<T> x = operand<T>(columns == 1 ? 140 : 20, depth);
            Matrix<T> w = operand<T>(depth, columns), b = operand<T>(1, columns);
            for (std::size_t p = 0; p < depth; ++p) {
                for (std::size_t i = 0; i < x.rows(); ++i) x(i, p) = least;
                for (std::size_t j = 0; j < columns; ++j) w(p, j) = -least;
            }
            for (std::size_t j = 0; j < columns; ++j) b(0, j) = -T(0);
            CAPTURE(columns);
            CAPTURE(depth);
            for_each_table<T>([&](const KernelTable<T>& kernels) {
                const Forward<T> forward{kernels, x, w, b.data()};
                Matrix<T> y = padded<T>(Role<T>::output, x.rows(), columns, kernels.lanes, 0), alone = y;
                forward(y);
                for (std::size_t i = 0; i < x.rows(); ++i)
                    forward.block(alone, Activation::identity, nullptr, i, 1, 0, columns);
                for (std::size_t i = 0; i < x.rows(); ++i) {
                    for (std::size_t j = 0; j < columns; ++j) {
                        CHECK(y(i, j) == T(0));
                        CHECK(std::signbit(y(i, j)) == std::signbit(alone(i, j)));
                    }
                }
            });
        }
    }
}

// Whose columns are summed by vectors, which reach beyond them: of 144 rows the last vector is whole in every set.
TEST_CASE_TEMPLATE("a column of many short rows has the bits of each row by itself", T, float, double) {
    Random random(4);
    const auto check = [&](std::size_t rows, std::size_t depth, std::size_t gap) {
        Matrix<T> x = operand<T>(rows, depth, gap).fill(random), w = operand<T>(depth, 1).fill(random);
        const T bias = T(0.25);
        CAPTURE(rows);
        CAPTURE(depth);
        CAPTURE(gap);
        const Product<T> reference(
            rows, 1, depth + 1, [&](auto i, auto p) { return p < depth ? x(i, p) : T(1); },
            [&](auto p, auto) { return p < depth ? w(p, 0) : bias; });
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const Forward<T> forward{kernels, x, w, &bias};
            Matrix<T> y = padded<T>(Role<T>::output, rows, 1, kernels.lanes, 0), alone = y;
            forward(y);
            CHECK(reference.error(y) <= 1);
            CHECK(y.untouched());
            for (std::size_t i = 0; i < rows; ++i) forward.block(alone, Activation::identity, nullptr, i, 1, 0, 1);
            CHECK(alone == y);
        });
    };
    for (std::size_t depth = 1; depth < 10; ++depth) {
        for (const std::size_t gap : {0u, 1u, 3u, 8u}) {
            check(130 + depth, depth, gap);
            check(144, depth, gap);
        }
    }
}

TEST_CASE_TEMPLATE("dense_forward applies the activation and stores its derivative", T, float, double) {
    Random random(2);
    for (const Shape& s : {Shape{1, 1, 5, 0},
                           {9, 1, 4, 0},
                           {1, 3, 9, 0},
                           {1, 77, 3, 0},
                           {17, 50, 6, 0},
                           {15, 34, 21, 0},
                           {5, 19, 700, 0},
                           {1, 140, 1100, 0},
                           {2, 512, 300, 0},
                           {3, 150, 300, 0},
                           {2, 5, 300, 0},
                           {9, 5, 300, 0},
                           {9, 10, 700, 0}}) {
        Matrix<T> x = operand<T>(s.rows, s.depth).fill(random, -3, 3), w = operand<T>(s.depth, s.columns).fill(random);
        const Matrix<T> b = operand<T>(1, s.columns).fill(random);
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const Forward<T> forward{kernels, x, w, b.data()};
            for (const Activation f : hidden_activations) {
                CAPTURE(static_cast<int>(f));
                for (const std::size_t gap : {std::size_t{0}, kernels.lanes}) {
                    Matrix<T> z = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes, gap);
                    Matrix<T> y = z, plain = z, derivative = z, expected_y = z, expected_derivative = z;
                    forward(z);
                    forward(plain, f);
                    forward(y, f, derivative.data());
                    for (std::size_t i = 0; i < s.rows; ++i) {
                        kernels.activation(f, &z(i, 0), &expected_y(i, 0), &expected_derivative(i, 0), s.columns);
                    }
                    CHECK(y == expected_y);
                    CHECK(plain == expected_y);
                    if (stores_derivative(f)) CHECK(derivative == expected_derivative);
                    if (s.columns % kernels.lanes == 0) {
                        forward.in_parts(plain, f, derivative.data(), s.depth / 2);
                        CHECK(plain == expected_y);
                        if (stores_derivative(f)) CHECK(derivative == expected_derivative);
                    }
                    CHECK((y.untouched() && derivative.untouched()));
                }
            }
        });
    }
}

TEST_CASE_TEMPLATE("input_gradient is dZ·Wᵀ", T, float, double) {
    Random random(3);
    const auto check_shape = [&](const Shape& s) {
        Matrix<T> dz = operand<T>(s.rows, s.depth, s.gap).fill(random),
                  w = operand<T>(s.columns, s.depth, s.gap).fill(random);
        const Product<T> reference(
            s.rows, s.columns, s.depth, [&](auto i, auto p) { return dz(i, p); },
            [&](auto p, auto j) { return w(j, p); });
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const Input<T> input{kernels, dz, w};
            const Matrix<T> blank = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes, s.gap);
            Matrix<T> dx = blank, pieces = blank;
            input(dx);
            CHECK(reference.error(dx) <= 1);
            CHECK(dx.untouched());
            for (const Zen zen : {Zen::four, Zen::five}) {
                Matrix<T> other = blank;
                Input<T>{kernels, dz, w, nullptr, nullptr, zen}(other);
                CHECK(other == dx);
                CHECK(other.untouched());
            }
            for_each_piece(s.rows, 1, [&](std::size_t row, std::size_t rows) {
                for_each_piece(s.columns, kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                    input.block(pieces, Activation::identity, row, rows, column, columns);
                });
                if (rows == 1 && s.rows > 1) return;  // it takes another road than a row among many
                for (std::size_t i = row; i < row + rows; ++i) {
                    CHECK(std::equal(&pieces(i, 0), &pieces(i, 0) + s.columns, &dx(i, 0)));
                }
            });
            CHECK(reference.error(pieces) <= 1);
            CHECK(pieces.untouched());
        });
    };
    for_each_shape(check_shape);
    for (const std::size_t depth : {1u, 2u, 3u, 4u, 7u, 8u}) {  // many short rows, of W or of dZ
        check_shape({1, 144, depth, 0});
        check_shape({144, 1, depth, 0});
    }
    // The last block of the depth is three steps, in which little of the next panel is transposed: of AVX-512's sets,
    // and of the others.
    check_shape({56, 64, 3043, 0});
    if (effort > 1) check_shape({56, 64, 12483, 0});
    if (effort > 1) check_shape({340, 1100, 1100, 0});  // more rows than go by rows of W, however large that is
}

TEST_CASE_TEMPLATE("input_gradient applies the derivative and the mask", T, float, double) {
    Random random(4);
    for (const Shape& s : {Shape{1, 1, 5, 0},
                           {9, 1, 4, 0},
                           {1, 33, 3, 0},
                           {17, 50, 6, 0},
                           {15, 34, 21, 0},
                           {5, 50, 321, 0},
                           {15, 100, 321, 0},
                           {130, 100, 321, 0},
                           {330, 130, 99, 0}}) {
        Matrix<T> dz = operand<T>(s.rows, s.depth).fill(random), w = operand<T>(s.columns, s.depth).fill(random);
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> saved = padded<T>(Role<T>::operand, s.rows, s.columns, kernels.lanes).fill(random);
            Matrix<T> mask = padded<T>(Role<T>::operand, s.rows, s.columns, kernels.lanes).fill(random, 0, 2);
            Matrix<T> product = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes);
            Matrix<T> dx = product, expected = product;
            Input<T>{kernels, dz, w}(product);
            for (const Activation f : hidden_activations) {
                CAPTURE(static_cast<int>(f));
                for (std::size_t i = 0; i < s.rows; ++i) {
                    kernels.activation_backward(f, &saved(i, 0), &product(i, 0), &expected(i, 0), s.columns);
                }
                Input<T>{kernels, dz, w, &saved}(dx, f);
                CHECK(dx == expected);
                for (std::size_t i = 0; i < s.rows; ++i) {
                    for (std::size_t j = 0; j < s.columns; ++j) expected(i, j) *= mask(i, j);
                }
                Input<T>{kernels, dz, w, &saved, &mask}(dx, f);
                CHECK(dx == expected);
                CHECK(dx.untouched());
            }
        });
    }
}

// One panel serves all layers of a network: that of the deepest.
TEST_CASE_TEMPLATE("panel_size does not fall with the depth", T, float, double) {
    for_each_table<T>([](const KernelTable<T>& kernels) {
        for (std::size_t depth = 1; depth < 3000; ++depth)
            CHECK(kernels.panel_size(depth) <= kernels.panel_size(depth + 1));
    });
}

// What is fetched leaves no trace but in the list: a tile that is not interrupted takes off one line.
TEST_CASE_TEMPLATE("dense_forward takes off rows to be read amid tiles", T, float, double) {
    constexpr std::size_t rows = 15, depth = 1000, many = 100000;
    for (const std::size_t columns : {std::size_t{2}, std::size_t{10}}) {
        const Matrix<T> x = operand<T>(rows, depth, 0), w = operand<T>(depth, columns, 0);
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> y = padded<T>(Role<T>::output, rows, columns, kernels.lanes, 0);
            Matrix<T> panel = output<T>(1, kernels.panel_size(depth));
            ReadAhead ahead = rows_to_read(many);
            kernels.dense_forward({x.data(), x.ld(), w.data(), w.ld(), nullptr, y.data(), y.ld(), nullptr, rows, depth,
                                   columns, Activation::identity, panel.data(), &ahead});
            CHECK(many - ahead.others.count > 2 * rows);
        });
    }
}
