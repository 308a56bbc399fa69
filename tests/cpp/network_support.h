// Networks and data for the tests of the core.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/network.h"
#include "support.h"

namespace fusednet::testing {

template <class S>
constexpr DType dtype_of() {
    if constexpr (std::is_same_v<S, float>) return DType::float32;
    if constexpr (std::is_same_v<S, std::int32_t>) return DType::int32;
    return DType::float64;
}

template <class S>
InputMatrix view(const std::vector<S>& v, std::size_t columns) {
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(S));
    return {v.data(), dtype_of<S>(), v.size() / columns, columns, size * static_cast<std::ptrdiff_t>(columns), size};
}

// Fully connected widths; the last layer has the output activation, the others the hidden one.
inline NetworkConfig network_config(const std::vector<std::size_t>& widths, Activation hidden, Activation output,
                                    Loss loss, double dropout = 0) {
    NetworkConfig config;
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
        const bool last = l + 2 == widths.size();
        config.layers.push_back({widths[l], widths[l + 1], last ? output : hidden, true, last ? 0 : dropout});
    }
    config.loss = loss;
    config.seed = 5;
    return config;
}

// Glorot's uniform range, times `scale`, for the weights; biases too, so that they show.
template <class T>
void initialize(const Network<T>& net, std::uint64_t seed, double scale = 1) {
    Random random(seed);
    for (const DenseLayer<T>& l : net.layers()) {
        const double limit = scale * std::sqrt(6.0 / static_cast<double>(l.in + l.out));
        for (std::size_t i = 0; i < l.parameter_count(); ++i) l.w[i] = static_cast<T>(random.uniform(-limit, limit));
    }
}

// Random samples that suit a loss: weights of 0.5 to 2, labels where asked for.
template <class T>
struct Data {
    std::size_t inputs, targets;
    std::vector<T> x, y, weight;
    std::vector<std::int32_t> label;

    Data(std::size_t rows, std::size_t inputs_, std::size_t outputs, Loss loss, std::uint64_t seed = 1)
        : inputs(inputs_), targets(outputs) {
        Random random(seed);
        const bool positive =
            loss == Loss::cross_entropy || loss == Loss::binary_cross_entropy || loss == Loss::poisson;
        x = random.vector<T>(rows * inputs, -1, 1);
        y = random.vector<T>(rows * outputs, positive ? 0 : -1, 1);
        weight = random.vector<T>(rows, 0.5, 2);
        for (std::size_t i = 0; i < rows; ++i) label.push_back(static_cast<std::int32_t>(random.below(outputs)));
    }

    Samples samples(bool weighted, bool labels) const {
        return {view(x, inputs), labels ? view(label, 1) : view(y, targets), weighted ? view(weight, 1) : InputMatrix{},
                labels};
    }
    // The first rows only.
    Samples head(std::size_t rows, bool weighted, bool labels) const {
        Samples s = samples(weighted, labels);
        s.x.rows = s.y.rows = rows;
        if (weighted) s.weight.rows = rows;
        return s;
    }
};

template <class T>
std::vector<T> copy(const Buffer<T>& buffer) {
    return {buffer.data(), buffer.data() + buffer.size()};
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline Optimizer optimizer(UpdateRule rule, double learning_rate = 0.01) {
    Optimizer o;
    o.rule = rule;
    o.learning_rate = learning_rate;
    o.beta1 = 0.9;
    o.beta2 = 0.99;
    o.epsilon = 1e-8;
    return o;
}

// Restores the automatic number of threads at the end of a test.
struct Threads {
    explicit Threads(std::size_t n) {
        set_num_threads(n);
        set_parallel_threshold(0);  // small networks too
    }
    ~Threads() {
        set_num_threads(std::nullopt);
        set_parallel_threshold(default_parallel_threshold);
    }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;
};

}  // namespace fusednet::testing
