// Inputs that the network reads where they lie: the bits of a copy, errors as for a copy, and no access beyond them.
#include "network_support.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/check.h"
#include "core/gather.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

// The inputs of a training: where they may be read in place, in memory that ends with them, and with gaps, which are
// copied.
template <class T>
struct Inputs {
    std::size_t rows, columns;
    GuardedBytes adjacent;
    std::vector<T> spread;

    Inputs(const std::vector<T>& x, std::size_t n)
        : rows(x.size() / n), columns(n), adjacent(x.size() * sizeof(T), 0), spread(2 * x.size()) {
        std::memcpy(adjacent.data(), x.data(), x.size() * sizeof(T));
        for (std::size_t i = 0; i < x.size(); ++i) spread[2 * i] = x[i];
    }

    InputMatrix in_place() const {
        constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
        return {adjacent.data(), dtype_of<T>(), rows, columns, size * static_cast<std::ptrdiff_t>(columns), size};
    }
    InputMatrix copied() const {
        InputMatrix x = view(spread, 2 * columns);
        x.columns = columns;
        x.column_stride *= 2;
        return x;
    }
};

// All that a step and an epoch leave.
template <class T>
std::vector<T> train(Data<T> data, const InputMatrix& x, const Sizes& widths, const Optimizer& optimizer,
                     std::size_t batch) {
    Network<T> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
    initialize(net, 4);
    Samples samples = data.samples(true, false);
    samples.x = x;
    std::vector<T> left{static_cast<T>(net.train_epoch(samples, optimizer, batch, nullptr, x.rows, nullptr))};
    left.push_back(static_cast<T>(net.train_step(samples, optimizer)));
    const std::vector<T> parameters = copy(net.parameters());
    left.insert(left.end(), parameters.begin(), parameters.end());
    return left;
}

}  // namespace

TEST_CASE_TEMPLATE("predictions from inputs where they lie have the bits of those from a copy", T, float, double) {
    constexpr std::size_t rows = 143, padded = 2048 / sizeof(T);  // rows so far apart share few sets of a cache
    for (const std::vector<std::size_t>& widths : {Sizes{33, 40, 3}, Sizes{37, 1}, Sizes{64, 2, 5}}) {
        Network<T> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 3);
        const std::size_t inputs = widths.front(), outputs = widths.back();
        const Data<T> data(rows, inputs, outputs, Loss::mse);
        std::vector<T> apart(rows * padded), spread(2 * rows * inputs);
        for (std::size_t i = 0; i < rows; ++i) {
            std::copy_n(data.x.data() + i * inputs, inputs, apart.data() + i * padded);
            for (std::size_t j = 0; j < inputs; ++j) spread[2 * (i * inputs + j)] = data.x[i * inputs + j];
        }
        InputMatrix copied = view(spread, 2 * inputs), crowded = view(apart, padded);
        copied.columns = crowded.columns = inputs;
        copied.column_stride *= 2;
        CHECK(rows_in_place<T>(copied, {nullptr, 0, rows}).data == nullptr);
        std::vector<T> expected(rows * outputs), y(rows * outputs);
        net.predict(copied, expected.data(), static_cast<std::ptrdiff_t>(outputs), 1, false);
        for (const InputMatrix& x : {view(data.x, inputs), crowded}) {
            CHECK(rows_in_place<T>(x, {nullptr, 0, rows}).data == x.data);
            net.predict(x, y.data(), static_cast<std::ptrdiff_t>(outputs), 1, false);
            CHECK(same_bits(y, expected));
        }
    }
}

TEST_CASE_TEMPLATE("training from inputs where they lie gives the bits of a copy", T, float, double) {
    constexpr std::size_t rows = 403, batch = 150;  // the last of an epoch is smaller
    for (const Sizes& widths : {Sizes{33, 40, 3}, Sizes{64, 64, 64, 1}, Sizes{30, 1}, Sizes{100, 7}, Sizes{7, 20, 2}}) {
        const Data<T> data(rows, widths.front(), widths.back(), Loss::mse);
        const Inputs<T> inputs(data.x, widths.front());
        CHECK(rows_in_place<T>(inputs.in_place(), {nullptr, 0, batch}).data != nullptr);
        CHECK(rows_in_place<T>(inputs.copied(), {nullptr, 0, batch}).data == nullptr);
        for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::adam}) {
            for (const std::size_t threads : Sizes{1, 2, 3}) {
                const Threads team(threads);
                const auto trained = [&](const InputMatrix& x) {
                    return train(data, x, widths, optimizer(rule), batch);
                };
                CHECK(same_bits(trained(inputs.in_place()), trained(inputs.copied())));
            }
        }
    }
}

TEST_CASE_TEMPLATE("a large batch is read where it lies, too, and so are rows of huge numbers", T, float, double) {
    const Sizes widths{64, 40, 33, 5};
    Data<T> data(3001, widths.front(), widths.back(), Loss::mse);
    data.x[12345] = std::sqrt(std::numeric_limits<T>::max()) * 2;
    const Inputs<T> inputs(data.x, widths.front());
    for (const std::size_t threads : Sizes{1, 2, 3}) {
        const Threads team(threads);
        const auto trained = [&](const InputMatrix& x) {
            return train(data, x, widths, optimizer(UpdateRule::adam), data.weight.size());
        };
        CHECK(same_bits(trained(inputs.in_place()), trained(inputs.copied())));
    }
}

TEST_CASE("the first input where it lies that is not finite is named, and nothing has changed") {
    const Sizes widths{200, 30, 3};
    Data<float> data(400, widths.front(), widths.back(), Loss::mse);
    data.x[390 * 200 + 1] = std::numeric_limits<float>::infinity();
    data.x[317 * 200 + 199] = std::nanf("");
    const Inputs<float> inputs(data.x, widths.front());
    Samples samples = data.samples(false, false);
    samples.x = inputs.in_place();
    for (const std::size_t threads : Sizes{1, 2, 3, 7}) {
        const Threads team(threads);
        Network<float> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 4);
        const std::vector<float> before = copy(net.parameters());
        CHECK_THROWS_WITH_AS(
            net.train_step(samples, optimizer(UpdateRule::sgd)),
            doctest::Contains("X: expected finite values that fit float32, received nan in row 317, column 199"),
            std::invalid_argument);
        CHECK(same_bits(copy(net.parameters()), before));
    }
}

TEST_CASE("backward has the inputs of forward, whatever was read before and has become of the caller's") {
    const Sizes widths{200, 30, 3};
    const Data<float> data(64, widths.front(), widths.back(), Loss::mse), others(64, 200, 3, Loss::mse, 2);
    std::vector<float> y(data.y.size()), dx(data.x.size());
    const auto gradient = [&](bool trained, bool overwritten) {
        Network<float> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 4);
        if (trained) net.train_step(others.samples(false, false), optimizer(UpdateRule::sgd, 0));
        std::vector<float> x = data.x;
        net.forward(view(x, widths.front()), false, y.data());
        if (overwritten) std::fill(x.begin(), x.end(), 9.0f);
        net.backward(view(data.y, widths.back()), dx.data());
        return copy(net.gradient());
    };
    CHECK(same_bits(gradient(true, false), gradient(false, false)));
    CHECK(same_bits(gradient(false, true), gradient(false, false)));
}
