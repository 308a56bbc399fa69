// Every loss's value and gradient against a plain loop in double.
#include "support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

template <class R>
struct Term {
    R value, slope;
};

// One output's loss before the factor of its row, and its derivative. cross_entropy is not elementwise.
template <class R>
Term<R> term(Loss loss, R p, R t, R parameter) {
    const R e = p - t, sign = e > 0 ? 1 : e < 0 ? -1 : 0;
    switch (loss) {
        case Loss::mae: return {std::abs(e), sign};
        case Loss::huber:
            if (std::abs(e) <= parameter) return {e * e / 2, e};
            return {parameter * (std::abs(e) - parameter / 2), parameter * sign};
        case Loss::quantile:
            return e > 0 ? Term<R>{(1 - parameter) * e, 1 - parameter} : Term<R>{-parameter * e, parameter * sign};
        case Loss::poisson: return t == 0 ? Term<R>{p, 1} : Term<R>{t * std::log(t / p) - t + p, 1 - t / p};
        case Loss::log_poisson:
            return {t == 0 ? std::exp(p) : t * (std::log(t) - p) - t + std::exp(p), std::exp(p) - t};
        case Loss::binary_cross_entropy: {
            const R softplus = std::max(p, R(0)) + std::log1p(std::exp(-std::abs(p)));
            return {softplus - t * p, 1 / (1 + std::exp(-p)) - t};
        }
        default: return {e * e, 2 * e};
    }
}

template <class R>
R row_factor(Loss loss, std::size_t columns) {
    return loss == Loss::half_mse ? R(0.5) : 1 / static_cast<R>(columns);
}

struct Kind {
    Loss loss;
    double parameter;
    double low, high;  // of predictions
    double target_low, target_high;
};

constexpr Kind kinds[] = {{Loss::mse, 0, -3, 3, -3, 3},        {Loss::half_mse, 0, -3, 3, -3, 3},
                          {Loss::mae, 0, -3, 3, -3, 3},        {Loss::huber, 1, -3, 3, -3, 3},
                          {Loss::huber, 0.5, -3, 3, -3, 3},    {Loss::quantile, 0.9, -3, 3, -3, 3},
                          {Loss::poisson, 0, 0.1, 5, 0, 5},    {Loss::binary_cross_entropy, 0, -30, 30, 0, 1},
                          {Loss::quantile, 0.5, -3, 3, -3, 3}, {Loss::log_poisson, 0, -3, 2, 0, 5}};

// A sum over a batch collects the rounding of its terms; `size` bounds their sum.
template <class T>
void check_total(double value, Wide<T> expected, double size) {
    CHECK(std::abs(value - expected) <= 16 * epsilon<T> * (std::abs(expected) + static_cast<Wide<T>>(size)));
}

}  // namespace

TEST_CASE_TEMPLATE("elementwise losses", T, float, double) {
    using R = Wide<T>;
    Random random(1);
    for (const Kind& kind : kinds) {
        for (const std::size_t columns : Sizes{1, 2, 3, 8, 15, 16, 17, 40}) {
            for (const std::size_t rows : Sizes{1, 2, 7, 33, 1300}) {
                if (columns > 3 && rows > 100) continue;
                CAPTURE(static_cast<int>(kind.loss));
                CAPTURE(columns);
                CAPTURE(rows);
                const std::size_t gap = columns == 1 ? 0 : 3;  // one column is contiguous
                Matrix<T> p = operand<T>(rows, columns, gap).fill(random, kind.low, kind.high);
                Matrix<T> t = operand<T>(rows, columns, gap).fill(random, kind.target_low, kind.target_high);
                if (columns > 1) t(0, 1) = T(0), p(0, 0) = t(0, 0);  // exact hits
                if (kind.loss == Loss::poisson) p(0, 0) = std::max(p(0, 0), T(0.1));
                const std::vector<T> weights = random.vector<T>(rows, 0, 2);
                const double scale = 0.3;
                for (const T* weight : {static_cast<const T*>(nullptr), weights.data()}) {
                    R total = 0;
                    std::vector<R> gradient(rows * columns);
                    const R factor = row_factor<R>(kind.loss, columns);
                    for (std::size_t i = 0; i < rows; ++i) {
                        const R w = weight != nullptr ? static_cast<R>(weight[i]) : 1;
                        for (std::size_t j = 0; j < columns; ++j) {
                            const Term<R> x = term<R>(kind.loss, p(i, j), t(i, j), static_cast<T>(kind.parameter));
                            total += w * factor * x.value;
                            gradient[i * columns + j] = static_cast<R>(scale) * w * factor * x.slope;
                        }
                    }
                    for_each_table<T>([&](const KernelTable<T>& kernels) {
                        Matrix<T> g = output<T>(rows, columns, gap);
                        LossArguments<T> a = {kind.loss, kind.parameter, p.data(), p.ld(), t.data(), t.ld(), nullptr,
                                              weight,    g.data(),       g.ld(),   rows,   columns,  scale};
                        const double value = kernels.loss(a);
                        check_total<T>(value, total, static_cast<double>(rows));
                        CHECK(g.untouched());
                        R worst = 0;
                        for (std::size_t i = 0; i < rows * columns; ++i) {
                            worst = std::max(worst, std::abs(g(i / columns, i % columns) - gradient[i]));
                        }
                        CHECK(worst <=
                              8 * epsilon<T> * (kind.loss == Loss::poisson || kind.loss == Loss::log_poisson ? 50 : 1));

                        a.gradient = nullptr;
                        CHECK(kernels.loss(a) == value);
                        Matrix<T> in_place = copied(p, g);
                        a.prediction = a.gradient = in_place.data();
                        a.ldp = a.ldg = in_place.ld();
                        CHECK(kernels.loss(a) == value);
                        CHECK((in_place == g && in_place.untouched()));
                    });
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("cross entropy of logits, by labels and by probabilities", T, float, double) {
    using R = Wide<T>;
    Random random(2);
    for (const std::size_t columns : Sizes{1, 2, 3, 7, 8, 10, 16, 17, 33, 100}) {
        for (const std::size_t rows : Sizes{1, 5, 40}) {
            for (const double range : {3.0, 300.0}) {
                CAPTURE(columns);
                CAPTURE(rows);
                CAPTURE(range);
                Matrix<T> z = operand<T>(rows, columns).fill(random, -range, range);
                Matrix<T> probabilities = operand<T>(rows, columns, 1).fill(random, 0, 1);
                Matrix<T> one_hot = operand<T>(rows, columns).fill(random, 0, 0);
                std::vector<std::int32_t> labels(rows);
                for (std::size_t i = 0; i < rows; ++i) {
                    labels[i] = static_cast<std::int32_t>(random.below(columns));
                    one_hot(i, static_cast<std::size_t>(labels[i])) = T(1);
                    probabilities(i, 0) = T(0);
                }
                const std::vector<T> weights = random.vector<T>(rows, 0, 2);
                const double scale = 0.7;
                for (const T* weight : {static_cast<const T*>(nullptr), weights.data()}) {
                    for (const bool labelled : {true, false}) {
                        const Matrix<T>& target = labelled ? one_hot : probabilities;
                        R total = 0;
                        std::vector<R> gradient(rows * columns);
                        for (std::size_t i = 0; i < rows; ++i) {
                            const R w = weight != nullptr ? static_cast<R>(weight[i]) : 1;
                            const R top = *std::max_element(&z(i, 0), &z(i, 0) + columns);
                            R sum = 0, mass = 0;
                            for (std::size_t j = 0; j < columns; ++j) {
                                sum += std::exp(z(i, j) - top);
                                mass += target(i, j);
                            }
                            for (std::size_t j = 0; j < columns; ++j) {
                                const R zj = z(i, j) - top, t = target(i, j);
                                total += w * t * (std::log(sum) - zj);
                                gradient[i * columns + j] = static_cast<R>(scale) * w * (std::exp(zj) / sum * mass - t);
                            }
                        }
                        for_each_table<T>([&](const KernelTable<T>& kernels) {
                            Matrix<T> g = output<T>(rows, columns, tight_gap(columns, kernels.lanes));
                            LossArguments<T> a = {Loss::cross_entropy,
                                                  0,
                                                  z.data(),
                                                  z.ld(),
                                                  labelled ? nullptr : target.data(),
                                                  target.ld(),
                                                  labelled ? labels.data() : nullptr,
                                                  weight,
                                                  g.data(),
                                                  g.ld(),
                                                  rows,
                                                  columns,
                                                  scale};
                            const double value = kernels.loss(a);
                            check_total<T>(value, total, static_cast<double>(rows * columns) * range);
                            CHECK(g.untouched());
                            R worst = 0;
                            for (std::size_t i = 0; i < rows * columns; ++i) {
                                worst = std::max(worst, std::abs(g(i / columns, i % columns) - gradient[i]));
                            }
                            CHECK(worst <= 16 * epsilon<T> * static_cast<R>(1 + columns / 4));

                            Matrix<T> in_place = copied(z, g);
                            a.prediction = a.gradient = in_place.data();
                            a.ldp = a.ldg = in_place.ld();
                            CHECK(kernels.loss(a) == value);
                            CHECK((in_place == g && in_place.untouched()));
                            // As in a workspace.
                            Matrix<T> roomy =
                                copied(z, padded<T>(Matrix<T>::Role::output, rows, columns, kernels.lanes, 4));
                            a.prediction = a.gradient = roomy.data();
                            a.ldp = a.ldg = roomy.ld();
                            CHECK(kernels.loss(a) == value);
                            CHECK((roomy == g && roomy.untouched()));
                            a.prediction = z.data();
                            a.ldp = z.ld();
                            a.gradient = nullptr;
                            CHECK(kernels.loss(a) == doctest::Approx(value).epsilon(1e-5));
                        });
                    }
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("clipped probabilities bound the value, not the gradient", T, float, double) {
    constexpr double clip = 1e-3;
    const double low = -std::log1p(-clip), high = -std::log(clip);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        const auto check = [&](Loss loss, const std::vector<T>& z, const T* target, const std::int32_t* label,
                               double expected) {
            std::vector<T> g(z.size()), unclipped(z.size());
            const std::size_t n = z.size();
            LossArguments<T> a = {loss, 0, z.data(), n, target, n, label, nullptr, g.data(), n, 1, n, 1, clip};
            const double value = kernels.loss(a) * (loss == Loss::binary_cross_entropy ? static_cast<double>(n) : 1.0);
            CHECK(std::abs(value - expected) <= 4 * static_cast<double>(epsilon<T>) * (1 + expected));
            a.clip = 0;
            a.gradient = unclipped.data();
            kernels.loss(a);
            CHECK(g == unclipped);
        };
        const std::vector<T> z = {T(20), T(-20), T(0)}, zero_one = {T(0), T(1), T(1)}, one_zero = {T(1), T(0), T(1)};
        check(Loss::binary_cross_entropy, z, zero_one.data(), nullptr, 2 * high + std::log(2.0));
        check(Loss::binary_cross_entropy, z, one_zero.data(), nullptr, 2 * low + std::log(2.0));
        for (const std::int32_t label : {0, 1}) {
            const std::vector<T> one_hot = {T(label == 0), T(label == 1), T(0)};
            check(Loss::cross_entropy, z, nullptr, &label, label == 0 ? low : high);
            check(Loss::cross_entropy, z, one_hot.data(), nullptr, label == 0 ? low : high);
        }
    });
}

TEST_CASE_TEMPLATE("what is not a number comes out as none", T, float, double) {
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const Kind& kind : kinds) {
            CAPTURE(static_cast<int>(kind.loss));
            for (const std::size_t columns : Sizes{1, 3, 20}) {
                std::vector<T> p(2 * columns, T(0.5)), t(2 * columns, T(0.5)), g(2 * columns);
                p[columns] = quiet_nan<T>;
                const double value = kernels.loss({kind.loss, kind.parameter, p.data(), columns, t.data(), columns,
                                                   nullptr, nullptr, g.data(), columns, 2, columns, 1});
                CHECK(std::isnan(value));
                CHECK(std::isnan(g[columns]));
            }
        }
        std::vector<T> z = {T(1), quiet_nan<T>, T(2)}, g(3);
        for (const std::int32_t label : {0, 1, 2}) {
            CHECK(std::isnan(kernels.loss(
                {Loss::cross_entropy, 0, z.data(), 3, nullptr, 3, &label, nullptr, g.data(), 3, 1, 3, 1})));
        }
    });
}

TEST_CASE_TEMPLATE("Poisson's loss of counts and rates of any size", T, float, double) {
    using R = Wide<T>;
    constexpr int top = std::numeric_limits<T>::max_exponent10;
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        const auto loss = [&](T p, T t) {
            T gradient;
            return kernels.loss({Loss::poisson, 0, &p, 1, &t, 1, nullptr, nullptr, &gradient, 1, 1, 1, 1});
        };
        for (int e = 1 - top; e < top - 3; ++e) {                         // t · log(t / p) is finite
            for (int f = std::max(1 - top, e + 1 - top); f < top; ++f) {  // t / p is finite, or subnormal, or zero
                const T t = static_cast<T>(1.7 * std::pow(10.0, e)), p = static_cast<T>(2.3 * std::pow(10.0, f));
                const R log = std::log(R{t} / R{p}), size = R{t} * std::abs(log) + R{t} + R{p};
                CAPTURE(t);
                CAPTURE(p);
                CHECK(std::abs(loss(p, t) - (R{t} * log - R{t} + R{p})) <= 4 * epsilon<T> * size);
            }
        }
        CHECK(loss(T(0), T(1)) == std::numeric_limits<double>::infinity());
        CHECK(std::isnan(loss(T(-1), T(1))));
        CHECK(std::isnan(loss(std::numeric_limits<T>::quiet_NaN(), T(1))));
    });
}

TEST_CASE_TEMPLATE("a count of zero predicted as zero costs nothing and pulls down", T, float, double) {
    const T zero[2] = {T(0), T(0)};
    T gradient[2];
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        CHECK(kernels.loss({Loss::poisson, 0, zero, 2, zero, 2, nullptr, nullptr, gradient, 2, 1, 2, 1}) == 0);
        CHECK(gradient[0] == T(0.5));
    });
}
