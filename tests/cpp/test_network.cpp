// The network as a whole: the same bits at any number of threads, one trainer at a time, layers that are frozen or
// shared, and errors that leave it as it was.
#include "network_support.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "core/check.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

// Enough work in a step of 64 rows to go parallel, with a remainder of everything.
const std::vector<std::size_t> large = {67, 150, 131, 10};

struct Setup {
    UpdateRule rule;
    Loss loss;
    Activation hidden, output;
    double dropout, clip_norm;
    bool weighted, labels;
};

constexpr Setup setups[] = {
    {UpdateRule::sgd, Loss::cross_entropy, Activation::relu, Activation::softmax, 0.0, 0, false, true},
    {UpdateRule::sgd, Loss::mse, Activation::tanh, Activation::identity, 0.3, 0, true, false},
    {UpdateRule::nesterov, Loss::huber, Activation::silu, Activation::tanh, 0.0, 0.1, true, false},
    {UpdateRule::adam, Loss::cross_entropy, Activation::gelu, Activation::softmax, 0.2, 0, true, true},
};

// Everything a run leaves: parameters, losses, predictions.
template <class T>
std::vector<T> train(const Setup& s, std::size_t threads) {
    const Threads limit(threads);
    NetworkConfig config = network_config(large, s.hidden, s.output, s.loss, s.dropout);
    config.l2 = 1e-3;
    Network<T> net(config);
    initialize(net, 1);
    constexpr std::size_t rows = 410;
    const Data<T> data(rows, large.front(), large.back(), s.loss);
    const Samples samples = data.samples(s.weighted, s.labels);
    Optimizer o = optimizer(s.rule, 0.05);
    if (s.clip_norm > 0) o.clip_norm = s.clip_norm;
    std::vector<std::int64_t> order(rows);
    std::iota(order.rbegin(), order.rend(), 0);
    std::vector<T> trace;
    for (const std::size_t batch : Sizes{64, 150, 410}) {
        trace.push_back(static_cast<T>(net.train_epoch(samples, o, batch, order.data(), rows, nullptr)));
    }
    trace.push_back(static_cast<T>(net.loss(samples)));
    trace.push_back(static_cast<T>(net.loss_and_gradient(samples)));
    for (const Buffer<T>& buffer : {net.parameters(), net.gradient()})
        trace.insert(trace.end(), buffer.data(), buffer.data() + buffer.size());
    std::vector<T> y(rows * large.back());
    net.predict(samples.x, y.data(), static_cast<std::ptrdiff_t>(large.back()), 1, false);
    trace.insert(trace.end(), y.begin(), y.end());
    return trace;
}

}  // namespace

TEST_CASE_TEMPLATE("the same bits at 1, 2, 3 and 4 threads, and in every run", T, float, double) {
    for (const Setup& s : setups) {
        CAPTURE(static_cast<int>(s.rule));
        CAPTURE(static_cast<int>(s.loss));
        const std::vector<T> alone = train<T>(s, 1);
        CHECK(std::all_of(alone.begin(), alone.end(), [](T x) { return std::isfinite(x); }));
        for (const std::size_t threads : effort == 1 ? Sizes{3} : Sizes{1, 2, 3, 4}) {
            CHECK(same_bits(train<T>(s, threads), alone));
        }
    }
}

// Here the input gradient wants more scratch than the other products; a sanitizer sees if there is less.
TEST_CASE_TEMPLATE("the scratch of a step is as large as its products want", T, float, double) {
    Network<T> net(network_config({64, 64, 64, 1}, Activation::tanh, Activation::identity, Loss::mse));
    initialize(net, 2);
    const Data<T> data(16, 64, 1, Loss::mse);
    CHECK(std::isfinite(net.train_step(data.samples(false, false), optimizer(UpdateRule::sgd, 0.01))));
}

TEST_CASE("backward has what forward kept, whatever the number of threads between them") {
    Network<float> net(network_config(large, Activation::tanh, Activation::identity, Loss::mse));
    initialize(net, 2);
    const Data<float> data(100, large.front(), large.back(), Loss::mse);
    std::vector<float> y(100 * large.back()), dx(100 * large.front());
    const auto gradient = [&](std::size_t before, std::size_t after) {
        const Threads automatic(before);
        net.forward(view(data.x, large.front()), false, y.data());
        set_num_threads(after);
        net.backward(view(data.y, large.back()), dx.data());
        return copy(net.gradient());
    };
    CHECK(same_bits(gradient(1, 3), gradient(1, 1)));
}

TEST_CASE("one trainer at a time") {
    std::atomic<bool> inside{false}, leave{false};
    Network<float> net(network_config({2, 3, 1}, Activation::tanh, Activation::identity, Loss::custom),
                       [&](MatrixView<const float>, MatrixView<const float>, MatrixView<float> g) {
                           std::fill_n(g.data, g.rows * g.ld, 0.0f);
                           inside = true;
                           while (!leave) std::this_thread::yield();
                           return 0.0;
                       });
    const Data<float> data(4, 2, 1, Loss::custom);
    const Samples samples = data.samples(false, false);
    const Optimizer sgd = optimizer(UpdateRule::sgd);
    std::thread trainer([&] { net.train_step(samples, sgd); });
    while (!inside) std::this_thread::yield();
    std::vector<float> y(4), dx(8);
    CHECK_THROWS_WITH_AS(net.train_step(samples, sgd), doctest::Contains("trained by another thread"),
                         std::runtime_error);
    CHECK_THROWS_AS(net.train_epoch(samples, sgd, 2, nullptr, 4, nullptr), std::runtime_error);
    CHECK_THROWS_AS(net.loss_and_gradient(samples), std::runtime_error);
    CHECK_THROWS_AS(net.forward(samples.x, false, y.data()), std::runtime_error);
    CHECK_THROWS_AS(net.backward(samples.y, dx.data()), std::runtime_error);
    net.predict(samples.x, y.data(), 1, 1, false);  // reads only
    leave = true;
    trainer.join();
    CHECK(net.train_step(samples, sgd) == 0);
}

TEST_CASE_TEMPLATE("predict is re-entrant, strided, and has no memory", T, float, double) {
    Network<T> net(network_config(large, Activation::relu, Activation::softmax, Loss::cross_entropy));
    initialize(net, 3);
    constexpr std::size_t rows = 300, outputs = 10;
    const Data<T> data(rows, large.front(), outputs, Loss::cross_entropy);
    const InputMatrix x = view(data.x, large.front());
    std::vector<T> expected(rows * outputs);
    net.predict(x, expected.data(), outputs, 1, false);
    std::vector<std::vector<T>> results(4);
    std::vector<std::thread> threads;
    for (std::vector<T>& y : results) {
        y.resize(rows * outputs);
        threads.emplace_back([&] {
            for (int repeat = 0; repeat < 5; ++repeat) net.predict(x, y.data(), 1, rows, false);  // columns first
        });
    }
    for (std::thread& t : threads) t.join();
    for (const std::vector<T>& y : results) {
        bool equal = true;
        for (std::size_t i = 0; i < rows * outputs; ++i)
            equal = equal && y[i % outputs * rows + i / outputs] == expected[i];
        CHECK(equal);
    }
    // Softmax of the logits is the prediction.
    std::vector<T> logits(rows * outputs), softmax(rows * outputs);
    net.predict(x, logits.data(), outputs, 1, true);
    kernels<T>().softmax(logits.data(), outputs, softmax.data(), outputs, rows, outputs);
    CHECK(same_bits(softmax, expected));
    // A single row takes another road.
    for (const std::size_t row : Sizes{0, 150, 299}) {
        InputMatrix one = x;
        one.data = data.x.data() + row * large.front();
        one.rows = 1;
        std::vector<T> y(outputs);
        net.predict(one, y.data(), outputs, 1, false);
        for (std::size_t j = 0; j < outputs; ++j) CHECK(std::abs(y[j] - expected[row * outputs + j]) < 8 * epsilon<T>);
    }
}

TEST_CASE("frozen layers stay, the others learn as if nothing were frozen above them") {
    for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::adamw}) {
        for (std::size_t frozen = 0; frozen < 3; ++frozen) {
            Network<double> net(network_config({3, 6, 5, 2}, Activation::tanh, Activation::identity, Loss::mse));
            initialize(net, 4);
            const Data<double> data(8, 3, 2, Loss::mse);
            const Samples samples = data.samples(false, false);
            net.loss_and_gradient(samples);
            const std::vector<double> gradient = copy(net.gradient()), before = copy(net.parameters());
            net.set_trainable(frozen, false);
            net.loss_and_gradient(samples);
            const std::vector<double> partial = copy(net.gradient());
            Optimizer o = optimizer(rule);
            o.weight_decay = 0.1;
            net.train_step(samples, o);
            for (std::size_t l = 0; l < 3; ++l) {
                const std::size_t begin = net.offset(l), end = begin + net.layers()[l].parameter_count();
                for (std::size_t i = begin; i < end; ++i) {
                    CHECK(partial[i] == (l == frozen ? 0 : gradient[i]));
                    CHECK((net.parameters().data()[i] == before[i]) == (l == frozen));
                }
            }
        }
    }
}

TEST_CASE("a layer as a network of its own, on the parent's buffers") {
    Network<double> parent(network_config({3, 4, 2}, Activation::tanh, Activation::sigmoid, Loss::mse, 0.5));
    initialize(parent, 5);
    const Data<double> data(6, 3, 2, Loss::mse);
    std::vector<double> expected(12), hidden(24), y(12), dx(18), dhidden(24), dexpected(18);
    parent.forward(view(data.x, 3), false, expected.data());
    parent.backward(view(data.y, 2), dexpected.data());
    const std::vector<double> gradient = copy(parent.gradient());
    std::fill_n(parent.gradient().data(), gradient.size(), 0.0);
    Network<double> first(parent, 0), second(parent, 1);
    CHECK(first.parameters().data() == parent.parameters().data());
    CHECK(second.layers()[0].b == parent.layers()[1].b);
    first.forward(view(data.x, 3), true, hidden.data());  // alone it has no dropout
    second.forward(view(hidden, 4), true, y.data());
    CHECK(same_bits(y, expected));
    second.backward(view(data.y, 2), dhidden.data());
    first.backward(view(dhidden, 4), dx.data());
    CHECK(same_bits(copy(parent.gradient()), gradient));
    CHECK(same_bits(dx, dexpected));
}

TEST_CASE("a layer outlives its parent") {
    auto parent =
        std::make_unique<Network<float>>(network_config({2, 2}, Activation::tanh, Activation::identity, Loss::mse));
    const Network<float> layer(*parent, 0);
    std::fill_n(parent->parameters().data(), parent->parameters().size(), 1.0f);
    parent.reset();
    const std::vector<float> x = {1, 2};
    float y[2];
    layer.predict(view(x, 2), y, 2, 1, false);
    CHECK((y[0] == 4 && y[1] == 4));
}

TEST_CASE("a loss that is not finite, bad data and bad calls leave the parameters alone") {
    Network<float> net(network_config({2, 3, 3}, Activation::identity, Activation::identity, Loss::mse));
    initialize(net, 6);
    const std::vector<float> before = copy(net.parameters());
    const Optimizer sgd = optimizer(UpdateRule::sgd);
    Data<float> data(5, 2, 3, Loss::mse);
    std::fill(data.y.begin(), data.y.end(), 1e30f);
    CHECK_THROWS_AS(net.train_step(data.samples(false, false), sgd), DivergenceError);
    data = Data<float>(5, 2, 3, Loss::mse);
    data.x[7] = std::nanf("");
    CHECK_THROWS_WITH_AS(
        net.train_step(data.samples(false, false), sgd),
        doctest::Contains("X: expected finite values that fit float32, received nan in row 3, column 1"),
        std::invalid_argument);
    data.x[7] = 0;
    data.weight[2] = -1;
    CHECK_THROWS_WITH_AS(net.train_step(data.samples(true, false), sgd), doctest::Contains("sample_weight"),
                         std::invalid_argument);
    std::vector<float> y(15), dx(10);
    CHECK_THROWS_WITH_AS(net.backward(view(data.y, 3), dx.data()), doctest::Contains("forward"), std::invalid_argument);
    net.forward(view(data.x, 2), false, y.data());
    CHECK_THROWS_AS(net.backward(data.head(4, false, false).y, dx.data()), std::invalid_argument);
    CHECK(same_bits(copy(net.parameters()), before));

    Network<float> classifier(network_config({2, 3}, Activation::identity, Activation::softmax, Loss::cross_entropy));
    data.label[4] = 3;
    CHECK_THROWS_WITH_AS(classifier.train_step(data.samples(false, true), sgd),
                         doctest::Contains("y: expected class labels from 0 to 2, received 3 in row 4"),
                         std::invalid_argument);
}

TEST_CASE_TEMPLATE("arrays that one loop goes through start in quarters of a page of their own", T, float, double) {
    const auto place = [](const Buffer<T>& buffer) { return reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096; };
    for (const std::size_t bytes : Sizes{1 << 14, 100000, 1 << 19, (1 << 21) - 1024, 1 << 21, 5000000}) {
        const std::size_t size = bytes / sizeof(T);
        for (const std::size_t quarter : Sizes{0, 1, 2, 3}) {
            const Buffer<T> buffer(size, quarter);
            CHECK(place(buffer) == 1024 * quarter);
            CHECK(std::count(buffer.data(), buffer.data() + size, T(0)) == static_cast<std::ptrdiff_t>(size));
        }
    }
    const Network<T> net(network_config(large, Activation::tanh, Activation::identity, Loss::mse));
    CHECK(place(net.parameters()) != place(net.gradient()));
}

TEST_CASE("a heartbeat that throws stops an epoch between two steps") {
    Network<float> net(network_config(large, Activation::tanh, Activation::identity, Loss::mse));
    initialize(net, 7);
    const Data<float> data(400, large.front(), large.back(), Loss::mse);
    struct Stop {};
    const std::vector<std::int64_t> order(1000000, 3);  // an epoch of minutes, of one row again and again
    const Optimizer sgd = optimizer(UpdateRule::sgd, 0);
    const auto stop = [](std::size_t done) {
        if (done > 0) throw Stop{};
    };
    CHECK_THROWS_AS(net.train_epoch(data.samples(false, false), sgd, 1, order.data(), order.size(), stop), Stop);
    CHECK(std::isfinite(net.train_step(data.samples(false, false), sgd)));
}
