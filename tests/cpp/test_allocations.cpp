// After the first training step, further steps with batches up to the largest seen allocate nothing. Every form of
// operator new in this executable counts.
#include <atomic>
#include <cstdlib>
#include <new>

#include "network_support.h"

namespace {

std::atomic<std::size_t> allocations{0};

void* count_and_allocate(std::size_t size, std::size_t alignment) {
    ++allocations;
#if defined(_WIN32)
    void* memory = _aligned_malloc(size, alignment);
#else
    void* memory = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
#endif
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

void release(void* memory) noexcept {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

}  // namespace

void* operator new(std::size_t size) { return count_and_allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t a) {
    return count_and_allocate(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }

namespace {

using namespace fusednet;
using namespace fusednet::testing;

struct Setup {
    const char* name;
    UpdateRule rule;
    Loss loss;
    Activation hidden, output;
    double dropout, clip_norm, l2;
    bool weighted, labels;
};

constexpr Setup setups[] = {
    {"SGD", UpdateRule::sgd, Loss::mse, Activation::tanh, Activation::identity, 0, 0, 0, false, false},
    {"clipped SGD", UpdateRule::sgd, Loss::huber, Activation::relu, Activation::sigmoid, 0, 1, 1e-3, true, false},
    {"momentum", UpdateRule::momentum, Loss::binary_cross_entropy, Activation::elu, Activation::sigmoid, 0, 0, 0, true,
     false},
    {"Adam", UpdateRule::adam, Loss::cross_entropy, Activation::gelu, Activation::softmax, 0, 0, 0, false, true},
    {"AdamW, dropout", UpdateRule::adamw, Loss::cross_entropy, Activation::silu, Activation::softmax, 0.2, 0.5, 1e-3,
     true, true},
};

// Batches that are taken by blocks, and one between them that is not.
template <class T>
void check_large_batches(const Setup& s) {
    Network<T> net(network_config({300, 20, 5}, s.hidden, s.output, s.loss, s.dropout));
    initialize(net, 1);
    const Data<T> data(3201, 300, 5, s.loss);  // blocks of 267 rows or so
    const Optimizer o = optimizer(s.rule, 1e-3);
    const auto train = [&](std::size_t rows) { net.train_step(data.head(rows, s.weighted, s.labels), o); };
    train(3201);
    const std::size_t before = allocations;
    train(300);
    train(1920);  // of 320
    train(3201);
    CHECK(allocations == before);
}

template <class T>
void check_no_allocation(const Setup& s, const std::vector<std::size_t>& widths) {
    CAPTURE(std::string(s.name));
    NetworkConfig config = network_config(widths, s.hidden, s.output, s.loss, s.dropout);
    config.l2 = s.l2;
    Network<T> net(config);
    initialize(net, 1);
    constexpr std::size_t rows = 192, batch = 96;
    const Data<T> data(rows, widths.front(), widths.back(), s.loss);
    const Samples all = data.samples(s.weighted, s.labels);
    Optimizer o = optimizer(s.rule, 1e-3);
    if (s.clip_norm > 0) o.clip_norm = s.clip_norm;
    std::vector<std::int64_t> order;
    for (std::int64_t i = rows; i-- > 0;) order.push_back(i);
    std::vector<Samples> batches;
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{17}, batch})
        batches.push_back(data.head(size, s.weighted, s.labels));
    std::vector<T> y(batch * widths.back());
    const Heartbeat::Callback heartbeat = [](std::size_t) {};

    net.train_step(batches.back(), o);
    const std::size_t before = allocations;
    double sum = 0;
    for (std::size_t repeat = 0; repeat < (effort == 1 ? 1 : 3); ++repeat) {
        for (const Samples& samples : batches) sum += net.train_step(samples, o);
        sum += net.train_epoch(all, o, batch, order.data(), rows, heartbeat);
        sum += net.train_epoch(all, o, 7, nullptr, rows, heartbeat);
        sum += net.loss_and_gradient(batches.back());
    }
    CHECK(allocations == before);
    CHECK(std::isfinite(sum));

    // Forward, too, finds its place; so does the step after it.
    net.forward(batches.back().x, true, y.data());
    const std::size_t between = allocations;
    net.train_step(batches.back(), o);
    net.forward(batches.back().x, true, y.data());
    net.train_step(batches.back(), o);
    CHECK(allocations == between);

    // A batch-1 prediction that the thread has seen the like of.
    net.predict(batches.front().x, y.data(), static_cast<std::ptrdiff_t>(widths.back()), 1, false);
    const std::size_t after = allocations;
    net.predict(batches.front().x, y.data(), static_cast<std::ptrdiff_t>(widths.back()), 1, false);
    CHECK(allocations == after);
}

const std::vector<std::size_t> small = {5, 9, 7, 3}, large = {67, 150, 131, 10};

}  // namespace

TEST_CASE("the counter counts") {
    const std::size_t before = allocations;
    delete new double;
    const Buffer<float> buffer(3);
    CHECK(allocations >= before + 2);
}

TEST_CASE_TEMPLATE("a training step allocates nothing on one thread", T, float, double) {
    const Threads one(1);
    for (const Setup& s : setups) {
        check_no_allocation<T>(s, small);
        check_no_allocation<T>(s, large);
        check_large_batches<T>(s);
    }
}

TEST_CASE_TEMPLATE("a training step allocates nothing on several threads", T, float, double) {
    const Threads three(3);
    for (const Setup& s : setups) {
        check_no_allocation<T>(s, large);
        check_large_batches<T>(s);
    }
}
