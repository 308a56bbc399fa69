// Activations within 4 units in the last place of a wider reference over the whole range, their limits, and their
// derivatives.
#include "support.h"

#include <string>

namespace {

using namespace fusednet;
using namespace fusednet::testing;

template <class T>
constexpr T largest = std::numeric_limits<T>::max();

// Every exponent and both signs, subnormal numbers included; then the ranges where something happens, densely.
template <class T>
std::vector<T> arguments() {
    Random random(1);
    std::vector<T> x = {T(0),
                        T(-0.0),
                        T(1),
                        T(-1),
                        infinity<T>,
                        -infinity<T>,
                        quiet_nan<T>,
                        largest<T>,
                        -largest<T>,
                        std::numeric_limits<T>::denorm_min(),
                        -std::numeric_limits<T>::denorm_min()};
    using Limits = std::numeric_limits<T>;
    for (int e = Limits::min_exponent - Limits::digits; e < Limits::max_exponent; ++e) {
        for (std::size_t i = 0; i < effort; ++i) {
            const T magnitude = static_cast<T>(std::ldexp(random.uniform(1, 2), e));
            x.push_back(magnitude);
            x.push_back(-magnitude);
        }
    }
    // e^x leaves the numbers of T at about ±88 (float) and −745, 709 (double).
    const double edge = sizeof(T) == 4 ? 120 : 800;
    for (const double range : {edge, 40.0, 12.0, 2.0}) {
        for (const T v : random.vector<T>(8000 * effort, -range, range)) x.push_back(v);
    }
    return x;
}

// Numerically exact references in a type wider than T.
template <class T>
Wide<T> reference(Activation f, Wide<T> x) {
    using R = Wide<T>;
    switch (f) {
        case Activation::sigmoid: return 1 / (1 + std::exp(-x));
        case Activation::tanh: return std::tanh(x);
        case Activation::elu: return x > 0 ? x : std::expm1(x);
        case Activation::softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
        case Activation::exp: return std::exp(x);
        case Activation::silu: return x == -infinity<R> ? R(-0.0) : x / (1 + std::exp(-x));
        case Activation::gelu: {  // x · erfc(t) / 2 at t = −x/√2, whose rounding error is carried: it counts for large
                                  // t
            if (std::isinf(x)) return x > 0 ? x : R(-0.0);
            const R root = std::sqrt(R(0.5)), root_error = std::fma(-root, root, R(0.5)) / (2 * root);
            const R t = -x * root, error = std::fma(-x, root, -t) - x * root_error;
            const R slope = std::exp(-t * t) * R(1.12837916709551257389615890312154517L);
            return x / 2 * (std::erfc(t) - slope * error);
        }
        case Activation::relu: return x > 0 ? x : x == x ? R(0) : x;
        case Activation::leaky_relu: return x > 0 ? x : x * static_cast<T>(0.01);
        default: return x;
    }
}

template <class T>
Wide<T> reference_derivative(Activation f, Wide<T> x) {
    using R = Wide<T>;
    const R s = 1 / (1 + std::exp(-x));
    switch (f) {
        case Activation::sigmoid:
            return std::isinf(x)
                       ? 0
                       : std::exp(-std::abs(x)) / ((1 + std::exp(-std::abs(x))) * (1 + std::exp(-std::abs(x))));
        case Activation::tanh: return 1 - std::tanh(x) * std::tanh(x);
        case Activation::elu: return x > 0 ? R(1) : std::exp(x);
        case Activation::softplus: return s;
        case Activation::exp: return std::exp(x);
        case Activation::silu: return std::isinf(x) ? (x > 0 ? R(1) : R(0)) : s + x * s * (1 - s);
        case Activation::gelu: {
            const R density =
                std::isinf(x) ? R(0) : x * std::exp(-x * x / 2) * R(0.398942280401432677939946059934381868L);
            return std::erfc(-x * std::sqrt(R(0.5))) / 2 + density;
        }
        case Activation::relu: return x > 0 ? R(1) : R(0);
        case Activation::leaky_relu: return x > 0 ? R(1) : R(static_cast<T>(0.01));
        default: return R(1);
    }
}

struct Named {
    Activation f;
    std::string name;
};

const Named exponential_activations[] = {{Activation::sigmoid, "sigmoid"}, {Activation::tanh, "tanh"},
                                         {Activation::elu, "elu"},         {Activation::gelu, "gelu"},
                                         {Activation::silu, "silu"},       {Activation::softplus, "softplus"},
                                         {Activation::exp, "exp"}};
const Named plain_activations[] = {
    {Activation::identity, "identity"}, {Activation::relu, "relu"}, {Activation::leaky_relu, "leaky_relu"}};

template <class T>
const std::string type_name = sizeof(T) == 4 ? "float32" : "float64";

}  // namespace

TEST_CASE_TEMPLATE("exponential activations are within 4 ulp", T, float, double) {
    const std::vector<T> x = arguments<T>();
    std::vector<Wide<T>> expected(x.size());
    std::vector<T> y(x.size());
    for (const Named& function : exponential_activations) {
        for (std::size_t i = 0; i < x.size(); ++i) expected[i] = reference<T>(function.f, static_cast<Wide<T>>(x[i]));
        for (const std::string& set : available_kernel_sets()) {
            table_of<T>(*find_kernels(set)).activation(function.f, x.data(), y.data(), nullptr, x.size());
            double worst = 0;
            T where = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                const double error = ulps(y[i], expected[i]);
                if (error > worst) worst = error, where = x[i];
            }
            MESSAGE(type_name<T>, " ", set, " ", function.name, ": at most ", worst, " ulp, at ", where);
            CHECK_MESSAGE(worst <= 4, function.name, " of ", where);
        }
    }
}

TEST_CASE_TEMPLATE("softmax is within 4 ulp, and a row's by itself what it is among others", T, float, double) {
    Random random(2);
    for (const std::string& set : available_kernel_sets()) {
        const KernelTable<T>& kernels = table_of<T>(*find_kernels(set));
        double worst = 0;
        const std::size_t rows = std::max(4 * effort + 3, 2 * kernels.lanes + 1);
        for (const std::size_t columns : Sizes{1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 33, 64, 100, 1000}) {
            for (const double range : {1.0, 10.0, 100.0, 1000.0, 1e15, 1e30, 0.4 * static_cast<double>(largest<T>)}) {
                const std::size_t gap = tight_gap(columns, kernels.lanes);
                Matrix<T> z = operand<T>(rows, columns, gap).fill(random, -range, range);
                for (std::size_t i = 1; i < rows; i += 4) z(i, 0) = -infinity<T>, z(i, columns - 1) = T(1);
                Matrix<T> together = output<T>(rows, columns, gap), apart = together, from_roomy = together;
                Matrix<T> roomy = copied(z, padded<T>(Matrix<T>::Role::output, rows, columns, kernels.lanes, 1));
                kernels.softmax(z.data(), z.ld(), together.data(), together.ld(), rows, columns);
                kernels.softmax(roomy.data(), roomy.ld(), from_roomy.data(), from_roomy.ld(), rows, columns);
                kernels.softmax(roomy.data(), roomy.ld(), roomy.data(), roomy.ld(), rows, columns);
                for (std::size_t i = 0; i < rows; ++i) {
                    kernels.softmax(&z(i, 0), z.ld(), &apart(i, 0), apart.ld(), 1, columns);
                    Wide<T> sum = 0;
                    const auto top = static_cast<Wide<T>>(*std::max_element(&z(i, 0), &z(i, 0) + columns));
                    for (std::size_t j = 0; j < columns; ++j) sum += std::exp(static_cast<Wide<T>>(z(i, j)) - top);
                    for (std::size_t j = 0; j < columns; ++j) {
                        const Wide<T> expected = std::exp(static_cast<Wide<T>>(z(i, j)) - top) / sum;
                        worst = std::max(worst, ulps(together(i, j), expected));
                    }
                }
                CHECK((apart == together && together.untouched()));
                CHECK((roomy == together && roomy.untouched() && from_roomy == together && from_roomy.untouched()));
            }
        }
        MESSAGE(type_name<T>, " ", set, " softmax: at most ", worst, " ulp");
        CHECK(worst <= 4);
    }
}

TEST_CASE_TEMPLATE("limits", T, float, double) {
    const std::vector<T> x = {T(-1000), T(1000), -infinity<T>, infinity<T>, quiet_nan<T>};
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        const auto apply = [&](Activation f) {
            std::vector<T> y(x.size());
            kernels.activation(f, x.data(), y.data(), nullptr, x.size());
            CHECK(std::isnan(y[4]));
            y.pop_back();
            return y;
        };
        const T inf = infinity<T>;
        CHECK(apply(Activation::sigmoid) == std::vector<T>{0, 1, 0, 1});
        CHECK(apply(Activation::tanh) == std::vector<T>{-1, 1, -1, 1});
        CHECK(apply(Activation::elu) == std::vector<T>{-1, 1000, -1, inf});
        CHECK(apply(Activation::gelu) == std::vector<T>{0, 1000, 0, inf});
        CHECK(apply(Activation::silu) == std::vector<T>{0, 1000, 0, inf});
        CHECK(apply(Activation::softplus) == std::vector<T>{0, 1000, 0, inf});
        CHECK(apply(Activation::exp) == std::vector<T>{0, inf, 0, inf});
        CHECK(apply(Activation::relu) == std::vector<T>{0, 1000, 0, inf});
        CHECK(apply(Activation::leaky_relu)[3] == inf);
        CHECK(apply(Activation::identity) == std::vector<T>{-1000, 1000, -inf, inf});

        std::vector<T> row = {T(1000), T(-1000), T(1000), -inf};
        kernels.softmax(row.data(), 4, row.data(), 4, 1, 4);  // in place
        CHECK(row == std::vector<T>{T(0.5), 0, T(0.5), 0});
        row = {largest<T>, -largest<T>, largest<T>, T(0)};  // a difference overflows
        kernels.softmax(row.data(), 4, row.data(), 4, 1, 4);
        CHECK(row == std::vector<T>{T(0.5), 0, T(0.5), 0});
        for (std::size_t place = 0; place < 4; ++place) {
            row = {T(1), T(2), T(3), T(4)};
            row[place] = quiet_nan<T>;
            kernels.softmax(row.data(), 4, row.data(), 4, 1, 4);
            for (const T p : row) CHECK(std::isnan(p));
        }
    });
}

// From the output, f' inherits the output's rounding: a few ulp of 1 where f ≤ 1. exp's and a stored f' of softplus are
// as good as the functions themselves.
TEST_CASE_TEMPLATE("derivatives", T, float, double) {
    std::vector<T> x;
    for (const T v : arguments<T>()) {
        if (!std::isnan(v)) x.push_back(v);
    }
    const std::size_t n = x.size();
    std::vector<T> y(n), derivative(n), backward(n);
    const std::vector<T> ones(n, T(1));
    const auto check = [&](const Named& function) {
        const Activation f = function.f;
        std::vector<Wide<T>> expected(n);
        for (std::size_t i = 0; i < n; ++i) expected[i] = reference_derivative<T>(f, static_cast<Wide<T>>(x[i]));
        for (const std::string& set : available_kernel_sets()) {
            const KernelTable<T>& kernels = table_of<T>(*find_kernels(set));
            kernels.activation(f, x.data(), y.data(), derivative.data(), n);
            kernels.activation_backward(f, stores_derivative(f) ? derivative.data() : y.data(), ones.data(),
                                        backward.data(), n);
            double worst = 0;
            T where = 0;
            for (std::size_t i = 0; i < n; ++i) {
                const bool relative = f == Activation::exp || f == Activation::softplus;
                const double error =
                    relative
                        ? ulps(backward[i], expected[i])
                        : static_cast<double>(std::abs(static_cast<Wide<T>>(backward[i]) - expected[i]) / epsilon<T>);
                if (!(error <= worst)) worst = error, where = x[i];
            }
            MESSAGE(type_name<T>, " ", set, " ", function.name, "': at most ", worst, " ulp, at ", where);
            CHECK_MESSAGE(worst <= 4, function.name, "' at ", where);
            CHECK(std::equal(derivative.begin(), derivative.end(), backward.begin()));
        }
    };
    for (const Named& function : exponential_activations) check(function);
    for (const Named& function : plain_activations) check(function);
}

TEST_CASE_TEMPLATE("activations and derivatives of any length, in place, and nothing beyond", T, float, double) {
    Random random(3);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (std::size_t n = 1; n <= 70; ++n) {
            Matrix<T> z = operand<T>(1, n).fill(random, -5, 5), g = operand<T>(1, n).fill(random);
            for (const Named& function : exponential_activations) {
                Matrix<T> y = output<T>(1, n), derivative = output<T>(1, n), alone = output<T>(1, n),
                          in_place = output<T>(1, n);
                std::copy_n(z.data(), n, in_place.data());
                kernels.activation(function.f, z.data(), y.data(), derivative.data(), n);
                kernels.activation(function.f, in_place.data(), in_place.data(), nullptr, n);
                for (std::size_t i = 0; i < n; ++i)
                    kernels.activation(function.f, z.data() + i, &alone(0, i), nullptr, 1);
                CHECK((y == alone && in_place == alone));
                CHECK((y.untouched() && derivative.untouched() && in_place.untouched()));

                const T* saved = stores_derivative(function.f) ? derivative.data() : y.data();
                Matrix<T> out = output<T>(1, n), gradient = output<T>(1, n);
                std::copy_n(g.data(), n, gradient.data());
                kernels.activation_backward(function.f, saved, g.data(), out.data(), n);
                kernels.activation_backward(function.f, saved, gradient.data(), gradient.data(), n);
                CHECK((gradient == out && out.untouched() && gradient.untouched()));
            }
        }
    });
}

TEST_CASE_TEMPLATE("softmax and its derivative by rows", T, float, double) {
    Random random(4);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const std::size_t columns : Sizes{1, 2, 5, 15, 16, 17, 31, 64, 65}) {
            constexpr std::size_t rows = 3;
            const std::size_t gap = tight_gap(columns, kernels.lanes);
            Matrix<T> z = operand<T>(rows, columns, gap).fill(random, -4, 4),
                      g = operand<T>(rows, columns, 1).fill(random);
            Matrix<T> p = output<T>(rows, columns, gap), out = output<T>(rows, columns, 5),
                      in_place = output<T>(rows, columns);
            kernels.softmax(z.data(), z.ld(), p.data(), p.ld(), rows, columns);
            kernels.softmax_backward(p.data(), p.ld(), g.data(), g.ld(), out.data(), out.ld(), rows, columns);
            for (std::size_t i = 0; i < rows; ++i) {
                std::copy_n(&g(i, 0), columns, &in_place(i, 0));
                Wide<T> sum = 0, inner = 0;
                for (std::size_t j = 0; j < columns; ++j) {
                    sum += static_cast<Wide<T>>(p(i, j));
                    inner += static_cast<Wide<T>>(p(i, j)) * static_cast<Wide<T>>(g(i, j));
                }
                CHECK(std::abs(sum - 1) <= 4 * epsilon<T>);
                for (std::size_t j = 0; j < columns; ++j) {
                    const Wide<T> expected = static_cast<Wide<T>>(p(i, j)) * (static_cast<Wide<T>>(g(i, j)) - inner);
                    CHECK(std::abs(static_cast<Wide<T>>(out(i, j)) - expected) <=
                          4 * epsilon<T> * static_cast<Wide<T>>(p(i, j)));
                }
            }
            kernels.softmax_backward(p.data(), p.ld(), in_place.data(), in_place.ld(), in_place.data(), in_place.ld(),
                                     rows, columns);
            CHECK((in_place == out && p.untouched() && out.untouched() && in_place.untouched()));
        }
    });
}

TEST_CASE_TEMPLATE("the first of a row's largest elements", T, float, double) {
    Random random(5);
    for_each_table<T>([&](const KernelTable<T>& kernels) {
        for (const std::size_t columns : Sizes{1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1000}) {
            for (const std::size_t rows : Sizes{1, 2, 5, 16, 17, 33}) {
                Matrix<T> z = operand<T>(rows, columns, tight_gap(columns, kernels.lanes)).fill(random, -4, 4);
                for (std::size_t i = 0; i < rows; ++i) {
                    T* const row = &z(i, 0);
                    if (i % 3 == 1) std::transform(row, row + columns, row, [](T x) { return std::round(x); });  // ties
                    if (i % 5 == 2) std::fill_n(row, columns, -infinity<T>);
                    if (i % 5 == 3) row[columns - 1] = infinity<T>;
                }
                std::vector<std::int64_t> found(rows, -1);
                kernels.argmax(z.data(), z.ld(), found.data(), rows, columns);
                for (std::size_t i = 0; i < rows; ++i) {
                    CHECK(found[i] == std::max_element(&z(i, 0), &z(i, 0) + columns) - &z(i, 0));
                }
                const Matrix<T> roomy = copied(z, padded<T>(Matrix<T>::Role::operand, rows, columns, kernels.lanes, 1));
                std::vector<std::int64_t> found_again(rows, -1);
                kernels.argmax(roomy.data(), roomy.ld(), found_again.data(), rows, columns);
                CHECK(found_again == found);
                z.fill(random, -4, -1);
                for (std::size_t i = 0; i < rows; ++i) z(i, columns - 1) = quiet_nan<T>;
                kernels.argmax(z.data(), z.ld(), found.data(), rows, columns);
                for (std::size_t i = 0; i < rows; ++i) {
                    const auto numbers = static_cast<std::ptrdiff_t>(columns) - 1;
                    CHECK(found[i] == (numbers > 0 ? std::max_element(&z(i, 0), &z(i, 0) + numbers) - &z(i, 0) : 0));
                    z(i, 0) = quiet_nan<T>;
                }
                kernels.argmax(z.data(), z.ld(), found.data(), rows, columns);
                CHECK(std::count(found.begin(), found.end(), 0) == static_cast<std::ptrdiff_t>(rows));
            }
        }
    });
}
