// How a batch is divided, by blocks and among the threads of a team: none of it shows in a result.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "network_support.h"

using namespace fusednet;
using namespace fusednet::testing;

TEST_CASE("the blocks of a batch are all of its rows, none too long, none a single row") {
    bool right = true;
    for (std::size_t m = 1; m < 50000; ++m) {
        const std::size_t blocks = block_count(m);
        right = right && block_begin(m, blocks, 0) == 0 && block_begin(m, blocks, blocks) == m;
        for (std::size_t b = 0; b < blocks; ++b) {
            const std::size_t rows = block_begin(m, blocks, b + 1) - block_begin(m, blocks, b);
            right = right && rows <= most_block_rows && (blocks == 1 || rows >= most_block_rows / 3);
        }
    }
    CHECK(right);
}

TEST_CASE("the chunks of a loss are all rows of a batch, and those of its blocks are theirs") {
    bool right = true;
    for (std::size_t m = 1; m < 5000; ++m) {
        const LossChunks chunks(m);
        const std::size_t blocks = block_count(m), each = chunks.count() / blocks;
        right = right && chunks.begin(chunks.count()) == m;
        for (std::size_t b = 0; b < blocks; ++b) {
            const std::size_t first = block_begin(m, blocks, b);
            const LossChunks own(block_begin(m, blocks, b + 1) - first);
            right = right && own.count() == each;
            for (std::size_t i = 0; right && i < each; ++i) {
                right = chunks.begin(b * each + i) == first + own.begin(i) && own.begin(i + 1) > own.begin(i);
            }
        }
    }
    CHECK(right);
}

TEST_CASE_TEMPLATE("a large batch trains to the same bits by any team", T, float, double) {
    constexpr std::size_t rows = 3001;  // ten blocks, which up to five threads share; seven go layer by layer
    NetworkConfig config =
        network_config({64, 40, 33, 5}, Activation::gelu, Activation::softmax, Loss::cross_entropy, 0.3);
    config.l2 = 0.01;
    const Data<T> data(rows, 64, 5, Loss::cross_entropy);
    const Optimizer adam = optimizer(UpdateRule::adam), sgd = optimizer(UpdateRule::sgd);
    std::vector<T> expected, gradient;
    double loss = 0;
    for (const std::size_t count : Sizes{1, 2, 3, 5, 7, 1}) {
        const Threads threads(count);
        Network<T> net(config);
        initialize(net, 1);
        std::fill_n(net.gradient().data(), net.gradient().size(), std::numeric_limits<T>::quiet_NaN());
        net.train_step(data.samples(true, true), sgd);
        CHECK(std::isfinite(net.gradient().data()[0]));  // which it stores
        net.train_step(data.samples(true, true), adam);
        std::vector<std::size_t> announced;
        const std::function<void(std::size_t)> after_layer = [&](std::size_t l) { announced.push_back(l); };
        const double value =
            net.part_gradient(data.samples(true, true), {nullptr, 1, rows - 1}, {0.7, 1, &after_layer});
        CHECK(announced == std::vector<std::size_t>{2, 1, 0});
        if (expected.empty()) {
            expected = copy(net.parameters());
            gradient = copy(net.gradient());
            loss = value;
        }
        CHECK(same_bits(copy(net.parameters()), expected));
        CHECK(same_bits(copy(net.gradient()), gradient));
        CHECK(value == loss);
    }
}

// Trained by several numbers of threads: all that a step leaves.
template <class T>
void check_same_bits(const NetworkConfig& config, const Data<T>& data, std::size_t rows, const Optimizer& optimizer) {
    std::vector<T> expected;
    double loss = 0;
    for (const std::size_t count : Sizes{1, 2, 3, 4, 7, 10}) {
        CAPTURE(count);
        const Threads threads(count);
        Network<T> net(config);
        initialize(net, 1);
        net.set_trainable(1, false);
        const Samples samples = data.head(rows, true, true);
        std::vector<std::size_t> announced;
        const std::function<void(std::size_t)> after_layer = [&](std::size_t l) { announced.push_back(l); };
        double value = net.part_gradient(samples, {nullptr, 1, rows - 1}, {0.7, 1, &after_layer});
        CHECK(announced == std::vector<std::size_t>{3, 2, 1, 0});
        std::vector<T> left = copy(net.gradient());
        net.set_dropout_step(0);
        CHECK(net.part_gradient(samples, {nullptr, 1, rows - 1}, {0.7, 1, nullptr}) == value);
        CHECK(same_bits(copy(net.gradient()), left));  // of layers one by one, so that they can be announced
        for (int repeat = 0; repeat < 2; ++repeat) value += net.train_step(samples, optimizer);
        // And with a smaller batch at the end.
        value += net.train_epoch(data.samples(true, true), optimizer, rows, nullptr, rows + rows / 3, nullptr);
        for (const Buffer<T>& buffer : {net.parameters(), net.state(optimizer).first, net.state(optimizer).second}) {
            const std::vector<T> copied = copy(buffer);
            left.insert(left.end(), copied.begin(), copied.end());
        }
        if (expected.empty()) {
            expected = left;
            loss = value;
        }
        CHECK(same_bits(left, expected));
        CHECK(value == loss);
    }
}

TEST_CASE_TEMPLATE("a batch that threads share by its rows trains to the same bits", T, float, double) {
    const Data<T> data(450, 30, 5, Loss::cross_entropy);
    NetworkConfig config =
        network_config({30, 40, 50, 39, 5}, Activation::gelu, Activation::softmax, Loss::cross_entropy, 0.3);
    config.l2 = 0.01;
    Optimizer clipped = optimizer(UpdateRule::adamw, 0.01);
    clipped.clip_norm = 0.1;
    for (const std::size_t rows : Sizes{33, 64, 100, 129, 319}) {
        CAPTURE(rows);
        check_same_bits(config, data, rows, optimizer(UpdateRule::sgd));
        check_same_bits(config, data, rows, optimizer(UpdateRule::adam));
        check_same_bits(config, data, rows, clipped);
    }
}

// Two and four threads have panels of the first layer each. (The inputs of 33 rows are copied.)
TEST_CASE_TEMPLATE("threads that keep columns of the first layer train to the same bits", T, float, double) {
    const Data<T> data(200, 30, 5, Loss::cross_entropy);
    NetworkConfig config =
        network_config({30, 128, 50, 39, 5}, Activation::gelu, Activation::softmax, Loss::cross_entropy, 0.3);
    config.l2 = 0.01;
    for (const std::size_t rows : Sizes{33, 64, 129}) {
        CAPTURE(rows);
        check_same_bits(config, data, rows, optimizer(UpdateRule::sgd));
    }
}

// Of the second batch there are fewer chunks than threads.
TEST_CASE("columns that lie in one piece are shared, too, and small batches by fewer threads") {
    constexpr std::size_t batch = 600, last = 150;
    const Data<float> data(batch + last, 64, 1, Loss::mse);
    const NetworkConfig config = network_config({64, 2, 1}, Activation::tanh, Activation::sigmoid, Loss::mse);
    const Optimizer sgd = optimizer(UpdateRule::sgd);
    std::vector<float> expected;
    for (int repeat = 0; repeat < (effort == 1 ? 2 : 20); ++repeat) {
        for (const std::size_t count : Sizes{1, 2, 4, 10}) {
            const Threads threads(count);
            Network<float> net(config);
            initialize(net, 1);
            net.train_epoch(data.samples(false, false), sgd, batch, nullptr, batch + last, nullptr);
            if (expected.empty()) expected = copy(net.parameters());
            CHECK(same_bits(copy(net.parameters()), expected));
        }
    }
}

TEST_CASE("epochs and steps that try teams train to the same bits") {
    const Data<float> data(643, 64, 40, Loss::mse);
    const NetworkConfig config = network_config({64, 48, 40}, Activation::tanh, Activation::identity, Loss::mse);
    const Optimizer adam = optimizer(UpdateRule::adam);
    Network<float> with_teams(config), alone(config);
    initialize(with_teams, 1);
    initialize(alone, 1);
    const auto train = [&](Network<float>& net, std::size_t threads) {
        using Clock = std::chrono::steady_clock;
        const Clock::time_point start = Clock::now();
        const Threads some(threads);
        set_parallel_threshold(5e6);  // an epoch of 40 steps is enough for a team, a step of 0.48e6 isn't
        net.train_epoch(data.samples(false, false), adam, 16, nullptr, 643, Heartbeat::Callback{});
        net.train_step(data.samples(false, false), adam);  // of 19e6: a quarter isn't enough
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    for (double time = 0; time < 8 * TeamTrial::warm_up;) {  // until both ways have been tried of both
        time += train(with_teams, 3);
        train(alone, 1);
        REQUIRE(copy(with_teams.parameters()) == copy(alone.parameters()));
    }
}
