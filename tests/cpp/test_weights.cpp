// The gradient by a layer's parameters, and the step by it, against plain loops, below, at and above the tiles; what
// they may touch; and that a result has the same bits whole and in blocks.
#include "products.h"

using namespace fusednet;
using namespace fusednet::testing;

TEST_CASE_TEMPLATE("weight_gradient and bias_gradient are Xᵀ·dZ and Σ dZ, decay and update", T, float, double) {
    Random random(5);
    for_each_shape([&](const Shape& s) {
        const std::size_t m = s.depth, k = s.rows, n = s.columns;
        struct Case {
            T factor, decay;
            bool update;
        };
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> x = operand<T>(m, k).fill(random);
            Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
            const auto line = [&](auto p, auto j) { return dz(p, j); };
            const Product<T> products(k, n, m, [&](auto i, auto p) { return x(p, i); }, line);
            const Product<T> sums(1, n, m, [](auto, auto) { return T(1); }, line);
            for (const Case c : {Case{T(1), T(0), false}, {T(0.5), T(0.25), false}, {T(-0.125), T(2), true}}) {
                const T old = c.factor * c.decay + T(c.update ? 1 : 0);
                Matrix<T> w = output<T>(k, n, s.gap).fill(random), b = output<T>(1, n).fill(random);
                const Product<T> weights = products.with(c.factor, old, w), biases = sums.with(c.factor, old, b);
                // Where the old parameter's factor is zero it may be anything.
                Matrix<T> blank = output<T>(k, n, s.gap), in_place = w, pieces = blank;
                const Matrix<T>& start = old == T(0) ? blank : w;
                Matrix<T> out = output<T>(k, n, s.gap);
                Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, n));
                kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), start.data(), out.data(), out.ld(), m, k,
                                         n, c.factor, c.decay, c.update, scratch.data(), k, false, false});
                CHECK(scratch.untouched());
                CHECK(weights.error(out) <= 1);
                CHECK(out.untouched());
                ReadAhead ahead = rows_to_read(1000);
                kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), in_place.data(), in_place.data(), w.ld(),
                                         m, k, n, c.factor, c.decay, c.update, scratch.data(), k, false, true, &ahead});
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
            }
        });
    });
}

// What is fetched leaves no trace but in the list: a tile that is not interrupted takes off one line.
TEST_CASE_TEMPLATE("weight_gradient takes off rows to be read amid tiles", T, float, double) {
    constexpr std::size_t m = 100, k = 40, many = 10000;
    for (const std::size_t columns : {std::size_t{2}, std::size_t{10}}) {
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const Matrix<T> x = operand<T>(m, k);
            const Matrix<T> dz = padded<T>(Role<T>::operand, m, columns, kernels.lanes);
            Matrix<T> out = output<T>(k, columns, 0), scratch = output<T>(1, kernels.weight_scratch(m, columns));
            ReadAhead ahead = rows_to_read(many);
            kernels.weight_gradient({x.data(), x.ld(), dz.data(), dz.ld(), out.data(), out.data(), out.ld(), m, k,
                                     columns, T(1), T(0), false, scratch.data(), k, false, false, &ahead});
            CHECK(many - ahead.others.count > 2 * k);
        });
    }
}

TEST_CASE_TEMPLATE("weight_step is weight_gradient, then the update by it, whole and in blocks", T, float, double) {
    Random random(6);
    // W near and far, of few tiles and many, of a few columns, of so few that Adam takes three turns for a row of
    // tiles, of some beyond whole tiles of AMX; depths of one block and of several; X and dZ so large that they are
    // copied.
    for (const Shape& s : {Shape{40, 1, 20, 0},
                           {30, 20, 9, 0},
                           {20, 6, 40, 0},
                           {20, 12, 40, 0},
                           {80, 2000, 20, 0},
                           {120, 41, 64, 0},
                           {260, 515, 33, 0},
                           {260, 521, 40, 3},
                           {130, 195, 50, 3},
                           {200, 700, 700, 0},
                           {600, 1500, 200, 0},
                           {14000, 10, 40, 0}}) {
        CAPTURE(s.rows);
        CAPTURE(s.columns);
        CAPTURE(s.depth);
        const std::size_t m = s.depth, k = s.rows, n = s.columns;
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            Matrix<T> x = operand<T>(m, k).fill(random);
            Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
            Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, n + s.gap));
            Matrix<T> gradient = output<T>(k, n, s.gap);
            struct Update {
                UpdateRule rule;
                double decay;
                bool backward;
            };
            for (const Update& u : {Update{UpdateRule::momentum, 0.1, false},
                                    {UpdateRule::adam, 0.0, false},
                                    {UpdateRule::adam, 0.0, true},
                                    {UpdateRule::adam, 0.1, true},
                                    {UpdateRule::adamw, 0.1, false},
                                    {UpdateRule::rmsprop, 0.1, false}}) {
                const UpdateRule rule = u.rule;
                CAPTURE(static_cast<int>(rule));
                CAPTURE(u.decay);
                CAPTURE(u.backward);
                const bool has_first = rule != UpdateRule::rmsprop, has_second = rule != UpdateRule::momentum;
                const UpdateArguments arguments{rule, 0.01, u.decay, 0.9, 0.99, 1e-3, 0.1, 0.01, false, u.backward};
                struct Learned {
                    Matrix<T> w, first, second;
                    bool operator==(const Learned& o) const {
                        return w == o.w && first == o.first && second == o.second;
                    }
                    bool untouched() const { return w.untouched() && first.untouched() && second.untouched(); }
                };
                Learned expected{output<T>(k, n, s.gap).fill(random), output<T>(k, n, s.gap).fill(random),
                                 output<T>(k, n, s.gap).fill(random, 0)};
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
                for (const bool distant : {false, true}) {
                    Learned whole = before, pieces = before;
                    step(whole, 0, k, 0, n, false, distant);
                    CHECK(whole == expected);
                    CHECK((whole.untouched() && gradient.untouched()));
                    for_each_piece(k, m >= kernels.many_rows ? 96 : 100, [&](std::size_t row, std::size_t rows) {
                        for_each_piece(n, 8 * kernels.panel_columns, [&](std::size_t column, std::size_t columns) {
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

// Where w points to, k rows of n elements are made and take a step; how they are then.
template <class T>
std::vector<T> stepped(const KernelTable<T>& kernels, UpdateRule rule, std::size_t m, std::size_t k, std::size_t n,
                       T* w, std::size_t ldw, bool shared) {
    Random random(7);
    Matrix<T> x = operand<T>(m, k).fill(random);
    Matrix<T> dz = padded<T>(Role<T>::operand, m, n, kernels.lanes).fill(random);
    Matrix<T> scratch = output<T>(1, kernels.weight_scratch(m, ldw)), gradient = output<T>(k, n, ldw - n);
    Matrix<T> first = output<T>(k, n, ldw - n).fill(random), second = output<T>(k, n, ldw - n).fill(random, 0);
    Matrix<T> start = output<T>(k, n).fill(random);
    for (std::size_t i = 0; i < k; ++i) std::copy_n(&start(i, 0), n, w + i * ldw);
    const UpdateArguments arguments{rule, 0.01, 0.1, 0.9, 0.99, 1e-3, 0.1, 0.01};
    kernels.weight_step({x.data(), x.ld(), dz.data(), dz.ld(), w, gradient.data(), ldw, m, k, n, T(0.5), T(0), false,
                         scratch.data(), k, shared, false},
                        {&arguments, w, first.data(), rule == UpdateRule::adam ? second.data() : nullptr});
    std::vector<T> left;
    for (std::size_t i = 0; i < k; ++i) left.insert(left.end(), w + i * ldw, w + i * ldw + n);
    return left;
}

TEST_CASE_TEMPLATE("weight_step leaves what is beside W alone, by a team too", T, float, double) {
    // W of whole pages between two that nobody may touch: far, but not beyond a megabyte, and with AVX-512 of a panel
    // that is not as wide as they come, and another one.
    const std::size_t n = sizeof(T) == 4 ? 20 : 10, k_of_pages = page_size() / 16, k = 9000 / k_of_pages * k_of_pages;
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const UpdateRule rule : {UpdateRule::momentum, UpdateRule::adam}) {
            const auto between_pages = [&](bool shared) {
                GuardedBytes bytes(k * n * sizeof(T), 0);
                return stepped(kernels, rule, 33, k, n, reinterpret_cast<T*>(bytes.data()), n, shared);
            };
            CHECK(between_pages(true) == between_pages(false));
        }
    });
}

TEST_CASE_TEMPLATE("weight_step leaves what is beside its columns of W alone, by a team too", T, float, double) {
    const std::size_t n = page_size() / sizeof(T);
    for (const std::size_t k : Sizes{12, 100}) {  // all at once, and tile by tile
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const auto between_pages = [&](bool shared) {
                GuardedRows rows(k);
                return stepped(kernels, UpdateRule::momentum, 33, k, n, reinterpret_cast<T*>(rows.data()), 2 * n,
                               shared);
            };
            CHECK(between_pages(true) == between_pages(false));
        });
    }
}
