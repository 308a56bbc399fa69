// Optimizer updates and the small passes over arrays against plain loops; dropout against Philox as published.
#include "support.h"

#include <array>

namespace {

using namespace fusednet;
using namespace fusednet::testing;

constexpr UpdateRule rules[] = {
    UpdateRule::sgd,       UpdateRule::momentum, UpdateRule::nesterov,       UpdateRule::adam,
    UpdateRule::adamw,     UpdateRule::rmsprop,  UpdateRule::inner_momentum, UpdateRule::inner_nesterov,
    UpdateRule::inner_adam};

// One parameter with its state, as torch.optim updates it, or scikit-learn.
struct Parameter {
    double w, first = 0, second = 0;

    void update(const UpdateArguments& a, double g) {
        const bool decoupled = a.rule == UpdateRule::adamw;
        if (decoupled) {
            w *= 1 - a.learning_rate * a.weight_decay;
        } else {
            g += a.weight_decay * w;
        }
        switch (a.rule) {
            case UpdateRule::sgd: w -= a.learning_rate * g; return;
            case UpdateRule::momentum:
            case UpdateRule::nesterov:
                first = a.beta1 * first + g;
                w -= a.learning_rate * (a.rule == UpdateRule::nesterov ? g + a.beta1 * first : first);
                return;
            case UpdateRule::adam:
            case UpdateRule::adamw:
                first = a.beta1 * first + (1 - a.beta1) * g;
                second = a.beta2 * second + (1 - a.beta2) * g * g;
                w -= a.learning_rate * (first / a.correction1) / (std::sqrt(second / a.correction2) + a.epsilon);
                return;
            case UpdateRule::inner_momentum:
            case UpdateRule::inner_nesterov:
                first = a.beta1 * first - a.learning_rate * g;
                w += a.rule == UpdateRule::inner_nesterov ? a.beta1 * first - a.learning_rate * g : first;
                return;
            case UpdateRule::inner_adam:
                first = a.beta1 * first + (1 - a.beta1) * g;
                second = a.beta2 * second + (1 - a.beta2) * g * g;
                w -= a.learning_rate * std::sqrt(a.correction2) / a.correction1 * first /
                     (std::sqrt(second) + a.epsilon);
                return;
            case UpdateRule::rmsprop:
                second = a.beta2 * second + (1 - a.beta2) * g * g;
                w -= a.learning_rate * g / (std::sqrt(second) + a.epsilon);
                return;
        }
    }
};

using Words = std::array<std::uint32_t, 4>;

// Philox4x32-10 by the paper (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011).
Words philox(Words c, std::array<std::uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
        c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
        key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
    }
    return c;
}

template <class T>
struct Dropout {
    Matrix<T> a, mask, out;

    Dropout(std::size_t rows, std::size_t columns)
        : a(operand<T>(rows, columns, 3)), mask(output<T>(rows, columns, 3)), out(output<T>(rows, columns, 3)) {
        Random random(9);
        a.fill(random);
    }
    void run(const KernelTable<T>& kernels, double rate, std::uint64_t seed, std::uint64_t step, std::uint32_t layer) {
        rows(kernels, 0, a.rows(), rate, seed, step, layer);
    }
    void rows(const KernelTable<T>& kernels, std::size_t first, std::size_t count, double rate, std::uint64_t seed,
              std::uint64_t step, std::uint32_t layer) {
        kernels.dropout({&a(first, 0), &mask(first, 0), &out(first, 0), a.ld(), count, a.columns(), first, rate, seed,
                         step, layer});
    }
};

// check(w, v) for w = 1/(√v + ε) by each rule that divides: with a gradient of −1 from zero.
template <class T, class Check>
void for_each_quotient(const std::vector<T>& moments, const Check& check) {
    for (const UpdateRule rule : {UpdateRule::rmsprop, UpdateRule::inner_adam}) {
        CAPTURE(static_cast<int>(rule));
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const std::size_t n = moments.size();
            std::vector<T> w(n), g(n, T(-1)), first(n), second = moments;
            T* const velocity = rule == UpdateRule::rmsprop ? nullptr : first.data();
            kernels.update({rule, 1, 0, 0, 1, 0, 1, 1}, w.data(), g.data(), velocity, second.data(), n);
            check(w, second);
        });
    }
}

}  // namespace

TEST_CASE_TEMPLATE("five steps of every update rule", T, float, double) {
    Random random(1);
    for (const UpdateRule rule : rules) {
        CAPTURE(static_cast<int>(rule));
        for (std::size_t n = 1; n <= 70; ++n) {
            for (const double decay : {0.0, 0.1}) {
                for_each_table<T>([&](const KernelTable<T>& kernels) {
                    Matrix<T> w = output<T>(1, n).fill(random), first = output<T>(1, n).fill(random, 0, 0),
                              second = first;
                    std::vector<Parameter> expected;
                    for (std::size_t i = 0; i < n; ++i) expected.push_back({static_cast<double>(w(0, i))});
                    for (int step = 1; step <= 5; ++step) {
                        const double rate = 0.05 / step;  // a changing rate tells where it stands
                        const UpdateArguments a = {
                            rule, rate, decay, 0.9, 0.99, 1e-3, 1 - std::pow(0.9, step), 1 - std::pow(0.99, step)};
                        Matrix<T> g = operand<T>(1, n).fill(random);
                        kernels.update(a, w.data(), g.data(), first.data(), second.data(), n);
                        for (std::size_t i = 0; i < n; ++i) expected[i].update(a, static_cast<double>(g(0, i)));
                    }
                    double worst = 0;
                    for (std::size_t i = 0; i < n; ++i)
                        worst = std::max(worst, std::abs(static_cast<double>(w(0, i)) - expected[i].w));
                    CHECK(worst <= 32 * static_cast<double>(epsilon<T>));
                    CHECK((w.untouched() && first.untouched() && second.untouched()));
                });
            }
        }
    }
}

TEST_CASE_TEMPLATE("second moments that overflow, or are zero beside a subnormal epsilon, leave w as it is", T, float,
                   double) {
    constexpr std::size_t n = 67;  // whole vectors and a part of one
    for (const UpdateRule rule : {UpdateRule::adam, UpdateRule::adamw, UpdateRule::rmsprop, UpdateRule::inner_adam}) {
        CAPTURE(static_cast<int>(rule));
        for (const T gradient : {std::numeric_limits<T>::max() / T(4), T(0)}) {
            for_each_table<T>([&](const KernelTable<T>& kernels) {
                std::vector<T> w(n, T(1.5)), g(n, gradient), first(n), second(n);
                const double tiny = static_cast<double>(std::numeric_limits<T>::denorm_min());
                kernels.update({rule, 0.1, 0, 0.9, 0.99, tiny, 0.1, 0.01}, w.data(), g.data(), first.data(),
                               second.data(), n);
                CHECK(w == std::vector<T>(n, T(1.5)));
            });
        }
    }
}

TEST_CASE_TEMPLATE("roots and quotients are within 2.5 ulp in float32, those of IEEE 754 in float64", T, float,
                   double) {
    constexpr int lowest = std::numeric_limits<T>::min_exponent - 1, highest = std::numeric_limits<T>::max_exponent;
    constexpr std::size_t n = 20011;
    Random random(4);
    std::vector<T> moments;
    for (std::size_t i = 0; i < n; ++i) {
        const int exponent = lowest + static_cast<int>(i) % (highest - lowest);
        moments.push_back(std::ldexp(static_cast<T>(random.uniform(1, 2)), exponent));
    }
    for_each_quotient(moments, [&](const std::vector<T>& w, const std::vector<T>& kept) {  // ε is below an ulp of √v
        CHECK(kept == moments);
        double worst = 0;
        for (std::size_t i = 0; i < n; ++i)
            worst = std::max(worst, ulps(w[i], 1 / std::sqrt(static_cast<Wide<T>>(moments[i]))));
        MESSAGE("at most ", worst, " ulp");
        CHECK(worst <= 2.5);
        if constexpr (sizeof(T) == sizeof(double)) {
            std::size_t different = 0;
            for (std::size_t i = 0; i < n; ++i)
                different += w[i] != 1 / (std::sqrt(moments[i]) + std::numeric_limits<T>::min());
            CHECK(different == 0);
        }
    });
}

// Or the bits of a step would depend on how many threads share it, as each counts the vectors from where it begins.
TEST_CASE_TEMPLATE("a root is the same in every vector", T, float, double) {
    constexpr std::size_t vector = 64 / sizeof(T), copies = 3, chunk = std::size_t{1} << 11;
    const auto check = [](std::size_t count, const auto& value) {
        for (std::size_t first = 0; first < count; first += chunk) {
            std::vector<T> moments;
            for (std::size_t i = first; i < first + chunk; i += vector) {
                for (std::size_t j = 0; j < vector; ++j) moments.push_back(value(i + j));
                for (std::size_t j = vector; j < copies * vector; ++j) moments.push_back(*(moments.end() - vector));
            }
            for_each_quotient(moments, [&](const std::vector<T>& w, const std::vector<T>&) {
                std::size_t different = 0;
                for (std::size_t i = 0; i < w.size(); ++i) {
                    const std::size_t group = i - i % (copies * vector);
                    different += w[i] != w[group + i % vector];
                }
                CHECK(different == 0);
            });
        }
    };
    constexpr std::size_t binade = effort << 19;  // of float32 that is every number, unless in a hurry
    check(2 * binade, [](std::size_t i) {
        const T mantissa = T(1) + static_cast<T>(i % binade) / static_cast<T>(binade);
        return i < binade ? mantissa : 2 * mantissa;
    });
    Random random(5);
    check(effort << 16, [&](std::size_t i) {
        constexpr int least = std::numeric_limits<T>::min_exponent, most = std::numeric_limits<T>::max_exponent;
        const int exponent = least + static_cast<int>(i / vector % (most - least));
        return std::ldexp(static_cast<T>(random.uniform(0.5, 1)), exponent);
    });
}

TEST_CASE_TEMPLATE("second moments that are no numbers make w none, infinite ones leave it as it is", T, float,
                   double) {
    const T nan = std::numeric_limits<T>::quiet_NaN(), infinite = std::numeric_limits<T>::infinity();
    std::vector<T> moments;
    // A lone infinity, or a lone NaN, in every lane of vectors and of groups of vectors.
    for (std::size_t i = 0; i < 625; ++i) moments.push_back(i % 25 == 12 ? nan : i % 25 == 0 ? infinite : T(4));
    for_each_quotient(moments, [&](const std::vector<T>& w, const std::vector<T>&) {
        for (std::size_t i = 0; i < moments.size(); ++i) {
            if (i % 25 == 12) {
                CHECK(std::isnan(w[i]));
            } else {
                CHECK(w[i] == (i % 25 == 0 ? T(0) : T(0.5)));
            }
        }
    });
}

TEST_CASE_TEMPLATE("subnormal second moments give steps of the right sign, and not too large", T, float, double) {
    std::vector<T> moments;
    for (std::size_t i = 0; i < 151; ++i)
        moments.push_back(std::numeric_limits<T>::denorm_min() * static_cast<T>(1 + 1000 * i * i));
    for_each_quotient(moments, [&](const std::vector<T>& w, const std::vector<T>&) {
        for (std::size_t i = 0; i < moments.size(); ++i) {
            CHECK(w[i] > T(0));
            CHECK(w[i] <= T(1.0001) / std::sqrt(moments[i]));
        }
    });
}

TEST_CASE_TEMPLATE("moments without a gradient end as zeros, not as subnormal numbers", T, float, double) {
    constexpr std::size_t n = 19;
    for (const UpdateRule rule : rules) {
        if (rule == UpdateRule::sgd) continue;
        CAPTURE(static_cast<int>(rule));
        for_each_table<T>([&](const KernelTable<T>& kernels) {
            const bool has_first = rule != UpdateRule::rmsprop,
                       has_second = rule == UpdateRule::rmsprop || rule == UpdateRule::adam ||
                                    rule == UpdateRule::adamw || rule == UpdateRule::inner_adam;
            const T small = std::numeric_limits<T>::min() * T(16);
            std::vector<T> w(n, T(1.5)), g(n), first(n, small), second(n, small);
            first[1] = second[2] = quiet_nan<T>;
            for (int step = 0; step < 200; ++step) {
                kernels.update({rule, 0.1, 0, 0.9, 0.9, 1e-8, 1, 1, true}, w.data(), g.data(),
                               has_first ? first.data() : nullptr, has_second ? second.data() : nullptr, n);
            }
            for (std::size_t i = 0; i < n; ++i) {
                if (has_first) CHECK((i == 1 ? std::isnan(first[i]) : first[i] == T(0)));
                if (has_second) CHECK((i == 2 ? std::isnan(second[i]) : i == 1 || second[i] == T(0)));
            }
        });
    }
}

TEST_CASE_TEMPLATE("plain SGD needs no state", T, float, double) {
    for_each_table<T>([](const KernelTable<T>& kernels) {
        T w = T(1);
        const T g = T(2);
        kernels.update({UpdateRule::sgd, 0.25, 0, 0, 0, 0, 0, 0}, &w, &g, nullptr, nullptr, 1);
        CHECK(w == T(0.5));
    });
}

TEST_CASE_TEMPLATE("sum of squares and scale", T, float, double) {
    Random random(3);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const std::size_t n : Sizes{1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1023, 1025, 5000}) {
            Matrix<T> x = operand<T>(1, n).fill(random), scaled = output<T>(1, n);
            Wide<T> expected = 0;
            for (std::size_t i = 0; i < n; ++i)
                expected += static_cast<Wide<T>>(x(0, i)) * static_cast<Wide<T>>(x(0, i));
            CHECK(std::abs(kernels.sum_squares(x.data(), n) - expected) <= 8 * epsilon<T> * expected);
            std::copy_n(x.data(), n, scaled.data());
            kernels.scale(scaled.data(), T(-0.3), n);
            bool equal = true;
            for (std::size_t i = 0; i < n; ++i) equal = equal && scaled(0, i) == x(0, i) * T(-0.3);
            CHECK(equal);
            CHECK(scaled.untouched());
        }
        CHECK(kernels.sum_squares(nullptr, 0) == 0);
    });
}

TEST_CASE("the reference generator gives the published vectors") {
    CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// An element is dropped where its word is below rate · 2³²: the same elements with every kernel set and type.
TEST_CASE_TEMPLATE("dropout draws from Philox by seed, step, layer, row and column", T, float, double) {
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const std::size_t columns : Sizes{1, 3, 4, 63, 64, 65, 130}) {
            for (const double rate : {0.1, 0.5, 0.9}) {
                for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0x123456789abcdef0}}) {
                    for (const std::uint64_t step : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{0x500000003}}) {
                        constexpr std::uint32_t layer = 2;
                        Dropout<T> dropout(5, columns);
                        dropout.run(kernels, rate, seed, step, layer);
                        const T keep = static_cast<T>(1 / (1 - rate));
                        bool equal = true;
                        for (std::size_t i = 0; i < 5; ++i) {
                            for (std::size_t j = 0; j < columns; ++j) {
                                const Words words =
                                    philox({static_cast<std::uint32_t>(j / 4), static_cast<std::uint32_t>(i),
                                            static_cast<std::uint32_t>(step),
                                            layer ^ static_cast<std::uint32_t>(step >> 32) << 8},
                                           {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
                                const T mask = words[j % 4] < rate * 4294967296.0 ? T(0) : keep;
                                equal =
                                    equal && dropout.mask(i, j) == mask && dropout.out(i, j) == dropout.a(i, j) * mask;
                            }
                        }
                        CHECK(equal);
                        CHECK((dropout.mask.untouched() && dropout.out.untouched()));

                        Dropout<T> pieces(5, columns);
                        pieces.rows(kernels, 3, 2, rate, seed, step, layer);
                        pieces.rows(kernels, 0, 1, rate, seed, step, layer);
                        pieces.rows(kernels, 1, 2, rate, seed, step, layer);
                        CHECK((pieces.mask == dropout.mask && pieces.out == dropout.out));
                    }
                }
            }
        }
    });
}

TEST_CASE("dropout drops at its rate, and differently in every step and layer") {
    constexpr std::size_t rows = 500, columns = 200;
    constexpr double n = rows * columns;
    for_each_table<float>([&](const KernelTable<float>& kernels) {
        const auto masks = [&](double rate, std::uint64_t seed, std::uint64_t step, std::uint32_t layer) {
            Dropout<float> dropout(rows, columns);
            dropout.run(kernels, rate, seed, step, layer);
            return dropout.mask;
        };
        for (const double rate : {0.05, 0.3, 0.5, 0.8}) {
            const Matrix<float> mask = masks(rate, 1, 2, 3);
            double dropped = 0;
            for (std::size_t i = 0; i < rows; ++i)
                dropped += static_cast<double>(std::count(&mask(i, 0), &mask(i, 0) + columns, 0.0f));
            CHECK(std::abs(dropped / n - rate) < 5 * std::sqrt(rate * (1 - rate) / n));
        }
        const Matrix<float> base = masks(0.5, 1, 2, 3);
        for (const Matrix<float>& other : {masks(0.5, 2, 2, 3), masks(0.5, 1, 3, 3), masks(0.5, 1, 2, 4)}) {
            double agree = 0;
            for (std::size_t i = 0; i < rows; ++i) {
                for (std::size_t j = 0; j < columns; ++j) agree += base(i, j) == other(i, j);
            }
            CHECK(std::abs(agree / n - 0.5) < 5 * std::sqrt(0.25 / n));
        }
    });
}
