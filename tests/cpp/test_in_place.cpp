// Inputs and targets that the network reads where they lie: which, the bits of a copy, errors as for one, and no access
// beyond.
#include "network_support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/check.h"
#include "core/gather.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

// Numbers where they may be read in place, in memory that ends with them, and with gaps, which are copied.
template <class T>
struct Placed {
    std::size_t rows, columns;
    GuardedBytes adjacent;
    std::vector<T> spread;

    Placed(const std::vector<T>& x, std::size_t n)
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

// All that an epoch and a step leave.
template <class T>
std::vector<T> train(const NetworkConfig& config, const Samples& samples, const Optimizer& optimizer,
                     std::size_t batch) {
    Network<T> net(config);
    initialize(net, 4);
    std::vector<T> left{static_cast<T>(net.train_epoch(samples, optimizer, batch, nullptr, samples.x.rows, nullptr))};
    left.push_back(static_cast<T>(net.train_step(samples, optimizer)));
    const std::vector<T> parameters = copy(net.parameters());
    left.insert(left.end(), parameters.begin(), parameters.end());
    return left;
}

// By one to three threads.
template <class T>
void check_same_training(const NetworkConfig& config, const Data<T>& data, const Optimizer& optimizer,
                         std::size_t batch, bool labels = false) {
    const Placed<T> x(data.x, data.inputs), y(data.y, data.targets);
    Samples copied = data.samples(true, labels), in_place = copied;
    copied.x = x.copied(), in_place.x = x.in_place();
    if (!labels) copied.y = y.copied(), in_place.y = y.in_place();
    for (const std::size_t threads : Sizes{1, 2, 3}) {
        const Threads team(threads);
        CHECK(same_bits(train<T>(config, in_place, optimizer, batch), train<T>(config, copied, optimizer, batch)));
    }
}

}  // namespace

TEST_CASE("rows are read where they lie if they are in order, of the type, and worth it; and are finite or not") {
    constexpr std::size_t rows = 30, columns = 50, wide = 60;
    std::vector<float> values(rows * wide, 1.0f);
    InputMatrix x{values.data(), DType::float32, rows, columns, wide * sizeof(float), sizeof(float)};
    const auto place = [&](const RowSelection& selected) { return rows_in_place<float>(x, selected); };
    const RowSelection some{nullptr, 5, 25};
    CHECK(place(some).data == values.data() + 5 * wide);
    CHECK(place(some).ld == wide);
    CHECK(place({nullptr, 0, 10}).data == nullptr);  // 2 kB
    const std::vector<std::int64_t> order(25, 1);
    CHECK(place({order.data(), 0, 25}).data == nullptr);
    CHECK(rows_in_place<double>(x, some).data == nullptr);
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        CHECK(are_finite(place(some)));
        values[29 * wide + 49] = bad;
        CHECK(!are_finite(place(some)));
        values[29 * wide + 49] = 1;
        values[29 * wide + 50] = bad;  // of a column beyond
        CHECK(are_finite(place(some)));
    }
    const InputMatrix good = x;
    x.row_stride = -good.row_stride;
    CHECK(place({nullptr, 0, 25}).data == nullptr);
    x.row_stride = 0;
    CHECK(place({nullptr, 0, 25}).data == nullptr);
    x = good;
    x.column_stride = 2 * good.column_stride;
    CHECK(place(some).data == nullptr);
    x = good;
    x.data = reinterpret_cast<const char*>(values.data()) + 1;
    CHECK(place({nullptr, 0, 25}).data == nullptr);
    x = good;
    const Standardization standardization{std::vector<double>(columns), std::vector<double>(columns, 1.0)};
    x.standardization = &standardization;
    CHECK(place(some).data == nullptr);
    // 14 rows of a tile of AVX-512 in eight lines of one set.
    constexpr std::size_t far = page / sizeof(float);
    const std::vector<float> pages(rows * far, 1.0f);
    for (const std::size_t apart : {far, far / 2}) {
        x = {pages.data(), DType::float32, rows, columns, static_cast<std::ptrdiff_t>(apart * sizeof(float)),
             sizeof(float)};
        CHECK((place({nullptr, 0, 25}).data == nullptr) == (apart == far && kernels<float>().tile_rows > 8));
    }
}

TEST_CASE("a step reads rows where they lie that have no gaps, and do not crowd into a cache's sets") {
    constexpr std::size_t rows = 40, most = 512;
    constexpr std::ptrdiff_t size = sizeof(float);
    const std::vector<float> values(rows * most);
    float copy = 0;
    const auto placed = [&](std::size_t columns, std::size_t apart) {
        const InputMatrix x{values.data(), DType::float32, rows, columns, static_cast<std::ptrdiff_t>(apart) * size,
                            size};
        return place_rows<float>(x, {nullptr, 1, rows - 1}, &copy, 7);
    };
    for (const std::size_t columns : Sizes{30, 50, 256, 500}) {
        const MatrixView<const float> x = placed(columns, columns);
        CHECK(x.data == values.data() + columns);
        CHECK(x.ld == columns);
        CHECK(x.rows == rows - 1);
    }
    for (const MatrixView<const float>& x : {placed(20, 20), placed(50, 51), placed(512, 512)}) {
        CHECK(x.data == &copy);  // 3 kB, with gaps, 2 KiB apart
        CHECK(x.ld == 7);
    }
}

TEST_CASE_TEMPLATE("predictions from inputs where they lie have the bits of those from a copy", T, float, double) {
    constexpr std::size_t rows = 143, padded = 2048 / sizeof(T);  // rows so far apart share few sets of a cache
    for (const std::vector<std::size_t>& widths : {Sizes{33, 40, 3}, Sizes{37, 1}, Sizes{64, 2, 5}}) {
        Network<T> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 3);
        const std::size_t inputs = widths.front(), outputs = widths.back();
        const Data<T> data(rows, inputs, outputs, Loss::mse);
        const Placed<T> placed(data.x, inputs);
        std::vector<T> apart(rows * padded);
        for (std::size_t i = 0; i < rows; ++i)
            std::copy_n(data.x.data() + i * inputs, inputs, apart.data() + i * padded);
        InputMatrix crowded = view(apart, padded);
        crowded.columns = inputs;
        CHECK(rows_in_place<T>(placed.copied(), {nullptr, 0, rows}).data == nullptr);
        std::vector<T> expected(rows * outputs), y(rows * outputs);
        // Then sums of a single column have squares that are not finite.
        for (const T factor : {T(1), 9 * std::sqrt(std::numeric_limits<T>::max())}) {
            std::for_each_n(net.parameters().data(), net.parameters().size(), [=](T& w) { w *= factor; });
            net.predict(placed.copied(), expected.data(), static_cast<std::ptrdiff_t>(outputs), 1, false);
            CHECK(std::all_of(expected.begin(), expected.end(), [](T z) { return std::isfinite(z); }));
            for (const InputMatrix& x : {placed.in_place(), crowded}) {
                CHECK(rows_in_place<T>(x, {nullptr, 0, rows}).data == x.data);
                net.predict(x, y.data(), static_cast<std::ptrdiff_t>(outputs), 1, false);
                CHECK(same_bits(y, expected));
            }
        }
    }
}

TEST_CASE_TEMPLATE("training from rows where they lie gives the bits of a copy", T, float, double) {
    constexpr std::size_t rows = 403, batch = 150;  // the last of an epoch is smaller
    const std::vector<Sizes> networks = {{33, 40, 3}, {64, 64, 64, 1}, {30, 1}, {100, 7}, {7, 20, 2}, {50, 8, 50}};
    for (const Sizes& widths : networks) {
        for (const Loss loss : {Loss::mse, Loss::binary_cross_entropy, Loss::poisson}) {
            const Activation output = loss == Loss::mse       ? Activation::identity
                                      : loss == Loss::poisson ? Activation::softplus
                                                              : Activation::sigmoid;
            const NetworkConfig config = network_config(widths, Activation::tanh, output, loss);
            const Data<T> data(rows, widths.front(), widths.back(), loss);
            check_same_training(config, data, optimizer(UpdateRule::sgd), batch);
            check_same_training(config, data, optimizer(UpdateRule::adam), batch);
        }
    }
}

TEST_CASE_TEMPLATE("training on classes where they lie, labels or probabilities, gives the bits of a copy", T, float,
                   double) {
    for (const Sizes& widths : {Sizes{50, 8, 50}, Sizes{100, 20, 7}}) {
        const NetworkConfig config =
            network_config(widths, Activation::relu, Activation::softmax, Loss::cross_entropy, 0.2);
        const Data<T> data(403, widths.front(), widths.back(), Loss::cross_entropy);
        for (const bool labels : {false, true})
            check_same_training(config, data, optimizer(UpdateRule::sgd), 200, labels);
    }
}

// Few rows have kernels of their own; of many numbers a tile's columns are copied together, whatever the vectors.
TEST_CASE_TEMPLATE("training from few rows or many numbers where they lie gives the bits of a copy", T, float, double) {
    const NetworkConfig wide = network_config({3000, 20, 3}, Activation::tanh, Activation::identity, Loss::mse);
    const Data<T> data(11, 3000, 3, Loss::mse), many(300, 1000, 3, Loss::mse);
    for (const std::size_t batch : Sizes{1, 2, 5}) check_same_training(wide, data, optimizer(UpdateRule::sgd), batch);
    const NetworkConfig deep = network_config({1000, 400, 3}, Activation::tanh, Activation::identity, Loss::mse);
    check_same_training(deep, many, optimizer(UpdateRule::sgd), 300);
}

TEST_CASE_TEMPLATE("a large batch is read where it lies, too, and so are rows of huge numbers", T, float, double) {
    const Sizes widths{64, 40, 33, 5};
    Data<T> data(3001, widths.front(), widths.back(), Loss::mae);
    data.x[12345] = data.y[2345] = std::sqrt(std::numeric_limits<T>::max()) * 2;
    const NetworkConfig config = network_config(widths, Activation::tanh, Activation::identity, Loss::mae);
    check_same_training(config, data, optimizer(UpdateRule::adam), data.weight.size());
}

TEST_CASE("the first number where it lies that nobody may give is named, and nothing has changed") {
    constexpr std::size_t rows = 400, in = 200, out = 20;
    const Sizes widths{in, 30, out};
    constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    Data<float> data(rows, in, out, Loss::binary_cross_entropy);
    const auto check_named = [&](const char* message) {
        const Placed<float> x(data.x, data.inputs), y(data.y, data.targets);
        Samples samples = data.samples(false, false);
        samples.x = x.in_place(), samples.y = y.in_place();
        for (const std::size_t threads : Sizes{1, 2, 3, 7}) {
            const Threads team(threads);
            Network<float> net(
                network_config(widths, Activation::tanh, Activation::sigmoid, Loss::binary_cross_entropy));
            initialize(net, 4);
            const std::vector<float> before = copy(net.parameters());
            CHECK_THROWS_WITH_AS(net.train_step(samples, optimizer(UpdateRule::sgd)), doctest::Contains(message),
                                 std::invalid_argument);
            CHECK(same_bits(copy(net.parameters()), before));
        }
    };
    data.y[390 * out + 3] = 2;
    data.y[385 * out + 19] = -1;
    check_named("y: expected values from 0 to 1, received -1 in row 385, column 19");
    data.y[317 * out] = nan;
    check_named("y: expected finite values that fit float32, received nan in row 317, column 0");
    data.x[390 * in + 1] = infinity;
    check_named("in row 3");  // of X or y: which of them depends on the threads
    data.y[317 * out] = data.y[385 * out + 19] = data.y[390 * out + 3] = 0;
    data.x[317 * in + 199] = nan;
    check_named("X: expected finite values that fit float32, received nan in row 317, column 199");
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

TEST_CASE("views of the parameters and of their gradient are read before a step writes them") {
    const Sizes widths{64, 64, 4};
    const Data<float> data(64, widths.front(), widths.back(), Loss::mse);
    const auto left = [&](bool gradient, bool copied) {
        Network<float> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 4);
        net.loss_and_gradient(data.samples(false, false));
        const Buffer<float>& own = gradient ? net.gradient() : net.parameters();
        const std::vector<float> before = copy(own);
        Samples samples = data.samples(false, false);
        samples.x.data = copied ? before.data() : own.data();  // the first weights are a matrix like X
        if (gradient) {
            net.loss_and_gradient(samples);
        } else {
            net.train_step(samples, optimizer(UpdateRule::sgd, 0.1));
        }
        return copy(own);
    };
    CHECK(same_bits(left(true, false), left(true, true)));
    CHECK(same_bits(left(false, false), left(false, true)));
}

TEST_CASE("a view of the gradient is read as it was, though blocks of a large batch are added up in it") {
    const Sizes widths{32, 256, 128, 32};
    const std::size_t rows = 1000;
    const Data<float> data(rows, widths.front(), widths.back(), Loss::mse);
    const auto left = [&](std::size_t threads, bool targets, bool copied) {
        const Threads team(threads);
        Network<float> net(network_config(widths, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 4);
        Samples samples = data.samples(false, false);
        net.loss_and_gradient(samples);
        const std::vector<float> before = copy(net.gradient());
        REQUIRE(before.size() >= rows * widths.front());
        (targets ? samples.y : samples.x).data = copied ? before.data() : net.gradient().data();
        std::vector<std::size_t> announced;
        const std::function<void(std::size_t)> after_layer = [&](std::size_t layer) { announced.push_back(layer); };
        BatchPart part;
        part.after_layer = &after_layer;
        const double value = net.part_gradient(samples, {nullptr, 0, rows}, part);
        CHECK(announced == std::vector<std::size_t>{2, 1, 0});
        std::vector<float> result = copy(net.gradient());
        result.push_back(static_cast<float>(value));
        return result;
    };
    for (const bool targets : {false, true}) {
        const std::vector<float> expected = left(1, targets, true);
        for (std::size_t threads = 1; threads <= 3; ++threads)
            CHECK(same_bits(left(threads, targets, false), expected));
    }
}
