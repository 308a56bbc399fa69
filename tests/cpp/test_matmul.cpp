// The matrix products against plain loops, below, at and above the tiles; what they may touch; and that a result has
// the same bits whole and in blocks.
#include "support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

constexpr std::size_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 64, 65, 127, 128, 129};

struct Shape {
    std::size_t rows, columns, depth, gap;  // gap: elements between a matrix's rows
};

// Every pair of rows and columns with a depth that goes round; a few beyond the depth of a block and a large stride.
template <class Body>
void for_each_shape(Body body) {
    std::size_t turn = 0;
    for (const std::size_t rows : sizes) {
        for (const std::size_t columns : sizes) {
            ++turn;
            if (effort == 1 && turn % 5 != 0) continue;
            const Shape shape{rows, columns, sizes[turn * 8 % 21], turn % 3 == 0 ? 3u : 0u};
            CAPTURE(rows);
            CAPTURE(columns);
            CAPTURE(shape.depth);
            CAPTURE(shape.gap);
            body(shape);
        }
    }
    std::vector<Shape> others = {{3, 33, 513, 0},   {1, 70, 1100, 0}, {47, 17, 1029, 5},  {40, 512, 20, 0},
                                 {65, 1024, 9, 0},  {2, 1, 700, 0},   {100, 1040, 70, 0}, {40, 300, 300, 1},
                                 {27, 100, 257, 1}, {20, 36, 31, 0},  {27, 100, 320, 1},  {130, 100, 321, 0},
                                 {1, 140, 1100, 0}, {4, 516, 300, 0}, {29, 420, 330, 0},  {40, 10, 70, 0},
                                 {33, 12, 350, 0},  {50, 9, 65, 3},   {30, 22, 20, 0},    {35, 43, 80, 0}};
    for (const std::size_t tile_rows : {3u, 6u, 10u, 14u}) {  // of one set or another
        const std::size_t two_tiles = tile_rows + 1, nine_tiles = 8 * tile_rows + 1;
        // W is far, and X and dZ are copied: by AVX-512 only where they are several times as large.
        others.push_back({two_tiles, 70000 / two_tiles, effort == 1 ? two_tiles : 6 * two_tiles, 0});
        others.push_back({nine_tiles, 70, 200, 0});  // W is copied; and next, where its rows start amid a line
        others.push_back({2 * tile_rows + 1, 70, 200, 1});
    }
    for (const Shape& shape : others) {
        CAPTURE(shape.rows);
        CAPTURE(shape.columns);
        CAPTURE(shape.depth);
        body(shape);
    }
}

// A · B by a plain loop, with Σ|a·b| beside it: the rounding of a sum is bounded by it. a(i, p) and b(p, j) are
// callables.
template <class T>
struct Product {
    std::vector<Wide<T>> value, size;

    template <class A, class B>
    Product(std::size_t rows, std::size_t columns, std::size_t depth, A a, B b)
        : value(rows * columns), size(rows * columns), columns_(columns), depth_(depth) {
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t p = 0; p < depth; ++p) {
                for (std::size_t j = 0; j < columns; ++j) {
                    const Wide<T> term = static_cast<Wide<T>>(a(i, p)) * static_cast<Wide<T>>(b(p, j));
                    value[i * columns + j] += term;
                    size[i * columns + j] += std::abs(term);
                }
            }
        }
    }

    // The largest error in `result`, as a part of what rounding may do.
    double error(const Matrix<T>& result) const {
        Wide<T> worst = 0;
        for (std::size_t i = 0; i < result.rows(); ++i) {
            for (std::size_t j = 0; j < columns_; ++j) {
                const Wide<T> e = std::abs(static_cast<Wide<T>>(result(i, j)) - value[i * columns_ + j]);
                const Wide<T> bound = size[i * columns_ + j] * static_cast<Wide<T>>(depth_ + 4) * epsilon<T> / 2;
                worst = e <= bound ? std::max(worst, e / bound) : infinity<Wide<T>>;
            }
        }
        return static_cast<double>(worst);
    }

private:
    std::size_t columns_, depth_;
};

template <class T>
using Role = typename Matrix<T>::Role;

constexpr Activation hidden_activations[] = {
    Activation::identity, Activation::sigmoid, Activation::tanh, Activation::relu,     Activation::leaky_relu,
    Activation::elu,      Activation::gelu,    Activation::silu, Activation::softplus, Activation::exp};

// Y = f(X·W + b) of one kernel set.
template <class T>
struct Forward {
    const KernelTable<T>& kernels;
    const Matrix<T>&x, &w;
    const T* bias;

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
        kernels.dense_forward({x.data() + row * x.ld() + first, x.ld(), w.data() + first * w.ld() + column, w.ld(),
                               bias != nullptr ? bias + column : nullptr, y.data() + offset, y.ld(),
                               derivative != nullptr ? derivative + offset : nullptr, rows, end - first, columns, f,
                               panel.data(), nullptr, first > 0});
        CHECK(panel.untouched());
    }
};

// dX = (dZ·Wᵀ) ∘ f'(saved) ∘ mask.
template <class T>
struct Input {
    const KernelTable<T>& kernels;
    const Matrix<T>&dz, &w;
    const Matrix<T>*saved = nullptr, *mask = nullptr;

    void operator()(Matrix<T>& dx, Activation f = Activation::identity) const {
        block(dx, f, 0, dz.rows(), 0, w.rows());
    }
    void block(Matrix<T>& dx, Activation f, std::size_t row, std::size_t rows, std::size_t column,
               std::size_t columns) const {
        Matrix<T> panel = output<T>(1, kernels.panel_size(w.columns()));
        const std::size_t offset = row * dx.ld() + column;
        kernels.input_gradient({dz.data() + row * dz.ld(), dz.ld(), w.data() + column * w.ld(), w.ld(),
                                dx.data() + offset, dx.ld(), saved != nullptr ? saved->data() + offset : nullptr,
                                mask != nullptr ? mask->data() + offset : nullptr, dx.ld(), rows, columns, w.columns(),
                                f, panel.data()});
        CHECK(panel.untouched());
    }
};

// Pieces of 0..n whose lengths are multiples of the unit but for the last.
template <class Body>
void for_each_piece(std::size_t n, std::size_t unit, Body body) {
    for (std::size_t begin = 0, units = 1; begin < n; ++units) {
        const std::size_t length = std::min(units * unit, n - begin);
        body(begin, length);
        begin += length;
    }
}

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
                Matrix<T> y = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes, s.gap), pieces = y;
                forward(y);
                CHECK(reference.error(y) <= 1);
                CHECK(y.untouched());
                for_each_piece(s.rows, 1, [&](std::size_t row, std::size_t rows) {
                    for_each_piece(s.columns, kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                        forward.block(pieces, Activation::identity, nullptr, row, rows, column, columns);
                    });
                });
                CHECK(pieces.untouched());
                // A single row may take another road than a row among many, but a block of columns may not.
                CHECK(pieces == y);
                if (s.columns == 1 || s.depth == 1) return;
                forward.in_parts(pieces, Activation::identity, nullptr, (s.depth + 1) / 2);
                CHECK(reference.error(pieces) <= 1);
                CHECK(pieces.untouched());
                if (s.columns % kernels.lanes == 0) CHECK(pieces == y);
            });
        }
    });
}

TEST_CASE_TEMPLATE("dense_forward takes an infinite input to infinite outputs", T, float, double) {
    const T infinite = std::numeric_limits<T>::infinity();
    Random random(3);
    for (const std::size_t columns : sizes) {
        for (const std::size_t depth : {1u, 2u, 3u, 257u}) {
            Matrix<T> x = operand<T>(3, depth).fill(random), w = operand<T>(depth, columns).fill(random, 1, 2);
            x(1, depth - 1) = infinite;  // hidden activations may be: exp overflows
            for_each_table<T>([&](const KernelTable<T>& kernels) {
                Matrix<T> y = padded<T>(Role<T>::output, 3, columns, kernels.lanes, 0);
                Forward<T>{kernels, x, w, nullptr}(y);
                for (std::size_t j = 0; j < columns; ++j) {
                    CHECK(std::isfinite(y(0, j)));
                    CHECK(y(1, j) == infinite);
                    CHECK(std::isfinite(y(2, j)));
                }
            });
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
                           {5, 19, 700, 0},
                           {1, 140, 1100, 0},
                           {2, 512, 300, 0},
                           {3, 150, 300, 0}}) {
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
            Matrix<T> dx = padded<T>(Role<T>::output, s.rows, s.columns, kernels.lanes, s.gap), pieces = dx;
            input(dx);
            CHECK(reference.error(dx) <= 1);
            CHECK(dx.untouched());
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
    // The last block of the depth is three steps, in which little of the next panel is transposed: of AVX-512's sets,
    // and of the others.
    check_shape({56, 64, 3043, 0});
    if (effort > 1) check_shape({56, 64, 12483, 0});
}

TEST_CASE_TEMPLATE("input_gradient applies the derivative and the mask", T, float, double) {
    Random random(4);
    for (const Shape& s :
         {Shape{1, 1, 5, 0}, {9, 1, 4, 0}, {1, 33, 3, 0}, {17, 50, 6, 0}, {5, 50, 321, 0}, {130, 100, 321, 0}}) {
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

TEST_CASE_TEMPLATE("weight_gradient and bias_gradient are Xᵀ·dZ and Σ dZ, decay and update", T, float, double) {
    Random random(5);
    for_each_shape([&](const Shape& s) {
        const std::size_t m = s.depth, k = s.rows, n = s.columns;
        struct Case {
            T factor, decay;
            bool update;
        };
        for (const Case c : {Case{T(1), T(0), false}, {T(0.5), T(0.25), false}, {T(-0.125), T(2), true}}) {
            const T own = c.factor, old = c.factor * c.decay + T(c.update ? 1 : 0);
            Matrix<T> w = output<T>(k, n, s.gap).fill(random), b = output<T>(1, n).fill(random);
            for_each_table<T>([&](const KernelTable<T>& kernels) {
                Matrix<T> x = padded<T>(Role<T>::operand, m, k, kernels.lanes).fill(random);
                Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
                // The old parameter is one more step of the depth. Where its factor is zero it may be anything.
                const Product<T> weights(
                    k, n, m + 1, [&](auto i, auto p) { return p < m ? x(p, i) * own : old; },
                    [&](auto p, auto j) { return p < m ? dz(p, j) : T(0); });
                Product<T> expected = weights;
                for (std::size_t i = 0; i < k * n; ++i) {
                    const Wide<T> kept = static_cast<Wide<T>>(old) * static_cast<Wide<T>>(w(i / n, i % n));
                    expected.value[i] += kept;
                    expected.size[i] += std::abs(kept);
                }
                Matrix<T> blank = output<T>(k, n, s.gap), in_place = w, pieces = blank;
                const Matrix<T>& start = old == T(0) ? blank : w;
                Matrix<T> out = output<T>(k, n, s.gap);
                Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, n));
                kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), start.data(), out.data(), out.ld(), m, k,
                                         n, c.factor, c.decay, c.update, scratch.data(), k, false, false});
                CHECK(scratch.untouched());
                CHECK(expected.error(out) <= 1);
                CHECK(out.untouched());
                kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), in_place.data(), in_place.data(), w.ld(),
                                         m, k, n, c.factor, c.decay, c.update, scratch.data(), k, false, false});
                CHECK(in_place == out);
                CHECK(in_place.untouched());
                for_each_piece(k, kernels.lanes, [&](std::size_t row, std::size_t rows) {
                    for_each_piece(n, kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                        const std::size_t offset = row * w.ld() + column;
                        kernels.weight_gradient({x.data() + row, x.ld(), dz.data() + column, dz.ld(),
                                                 start.data() + offset, pieces.data() + offset, w.ld(), m, rows,
                                                 columns, c.factor, c.decay, c.update, scratch.data(), k, true, true});
                    });
                });
                CHECK(pieces == out);

                const Product<T> biases(
                    1, n, m + 1, [&](auto, auto p) { return p < m ? own : old; },
                    [&](auto p, auto j) { return p < m         ? dz(p, j)
                                                 : old != T(0) ? b(0, j)
                                                               : T(0); });
                Matrix<T> bias = b, bias_pieces = b;
                kernels.bias_gradient(
                    {dz.data(), dz.ld(), bias.data(), bias.data(), m, n, c.factor, c.decay, c.update});
                CHECK(biases.error(bias) <= 1);
                CHECK(bias.untouched());
                for_each_piece(n, kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                    kernels.bias_gradient({dz.data() + column, dz.ld(), bias_pieces.data() + column,
                                           bias_pieces.data() + column, m, columns, c.factor, c.decay, c.update});
                });
                CHECK(bias_pieces == bias);
            });
        }
    });
}

TEST_CASE_TEMPLATE("weight_step is weight_gradient, then the update by it, whole and in blocks", T, float, double) {
    Random random(6);
    // W near and far, of few tiles and many, of a few columns; depths of one block and of several; X and dZ so large
    // that they are copied.
    for (const Shape& s : {Shape{40, 1, 20, 0},
                           {30, 20, 9, 0},
                           {80, 2000, 20, 0},
                           {260, 515, 33, 0},
                           {260, 521, 40, 3},
                           {200, 700, 700, 0},
                           {600, 1500, 200, 0},
                           {14000, 10, 40, 0}}) {
        CAPTURE(s.rows);
        CAPTURE(s.columns);
        CAPTURE(s.depth);
        const std::size_t m = s.depth, k = s.rows, n = s.columns;
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> x = padded<T>(Role<T>::operand, m, k, kernels.lanes).fill(random);
            Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
            Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, n + s.gap));
            Matrix<T> gradient = output<T>(k, n, s.gap);
            for (const UpdateRule rule : {UpdateRule::momentum, UpdateRule::adamw, UpdateRule::rmsprop}) {
                CAPTURE(static_cast<int>(rule));
                const bool has_first = rule != UpdateRule::rmsprop, has_second = rule != UpdateRule::momentum;
                const UpdateArguments arguments{rule, 0.01, 0.1, 0.9, 0.99, 1e-3, 0.1, 0.01};
                struct Learned {
                    Matrix<T> w, first, second;
                    bool operator==(const Learned& o) const {
                        return w == o.w && first == o.first && second == o.second;
                    }
                    bool untouched() const { return w.untouched() && first.untouched() && second.untouched(); }
                };
                Learned expected{output<T>(k, n, s.gap).fill(random), output<T>(k, n, s.gap).fill(random),
                                 output<T>(k, n, s.gap).fill(random, 0)};
                Learned whole = expected;
                const Learned before = expected;
                const auto step = [&](Learned& to, std::size_t row, std::size_t rows, std::size_t column,
                                      std::size_t columns, bool shared, bool distant) {
                    T *w = &to.w(row, column), *first = &to.first(row, column), *second = &to.second(row, column);
                    kernels.weight_step(
                        {x.data() + row, x.ld(), dz.data() + column, dz.ld(), w, &gradient(row, column), to.w.ld(), m,
                         rows, columns, T(0.5), T(0.25), false, scratch.data(), k, shared, distant},
                        {&arguments, w, has_first ? first : nullptr, has_second ? second : nullptr});
                };
                kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), expected.w.data(), gradient.data(),
                                         gradient.ld(), m, k, n, T(0.5), T(0.25), false, scratch.data(), k, false,
                                         false});
                for (std::size_t i = 0; i < k; ++i) {
                    kernels.update(arguments, &expected.w(i, 0), &gradient(i, 0),
                                   has_first ? &expected.first(i, 0) : nullptr,
                                   has_second ? &expected.second(i, 0) : nullptr, n);
                }
                step(whole, 0, k, 0, n, false, false);
                CHECK(whole == expected);
                CHECK((whole.untouched() && gradient.untouched()));
                for (const bool distant : {false, true}) {
                    Learned pieces = before;
                    for_each_piece(k, 100, [&](std::size_t row, std::size_t rows) {
                        for_each_piece(n, 4 * kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
                            step(pieces, row, rows, column, columns, true, distant);
                        });
                    });
                    CHECK(pieces == expected);
                    CHECK((pieces.untouched() && gradient.untouched() && scratch.untouched()));
                }
            }
        });
    }
}

TEST_CASE_TEMPLATE("weight_step leaves what is beside its block alone, by a team too", T, float, double) {
    Random random(7);
    // W of whole pages between two that nobody may touch: far, but not beyond a megabyte, and with AVX-512 of a panel
    // that is not as wide as they come, and another one.
    const std::size_t m = 33, k = 8960, n = sizeof(T) == 4 ? 20 : 10;
    const std::vector<T> start = random.vector<T>(k * n, -1, 1);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        Matrix<T> x = padded<T>(Role<T>::operand, m, k, kernels.lanes).fill(random);
        Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
        Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, n)), gradient = output<T>(k, n);
        const UpdateArguments arguments{UpdateRule::momentum, 0.01, 0.1, 0.9, 0.99, 1e-3, 0.1, 0.01};
        const auto stepped = [&](bool shared) {
            GuardedBytes bytes(k * n * sizeof(T), 0);
            T* const w = reinterpret_cast<T*>(bytes.data());
            std::vector<T> velocity(k * n);
            std::copy(start.begin(), start.end(), w);
            kernels.weight_step({x.data(), x.ld(), dz.data(), dz.ld(), w, gradient.data(), n, m, k, n, T(0.5), T(0),
                                 false, scratch.data(), k, shared, false},
                                {&arguments, w, velocity.data(), nullptr});
            return std::vector<T>(w, w + k * n);
        };
        CHECK(stepped(true) == stepped(false));
    });
}
