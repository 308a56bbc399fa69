// Everything a training step writes beside parameters and gradient: one allocation, carved into views and kept for
// the next step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "core/dense.h"

namespace fusednet {

// What one layer leaves for the backward pass. All have the layer's leading dimension.
template <class T>
struct LayerTape {
    T* output;      // f(z), before dropout
    T* derivative;  // f'(z), or null where it follows from the output
    T* mask;        // dropout's factors, or null
    T* dropped;     // output ∘ mask, or null
    std::size_t ld;
    bool dropout_applied;  // by the last forward

    const T* next_input() const { return dropout_applied ? dropped : output; }
    const T* saved() const { return derivative != nullptr ? derivative : output; }  // what f'(z) follows from
};

template <class T>
struct Workspace {
    std::size_t rows = 0, threads = 0;  // capacities
    T* input = nullptr;
    std::size_t ld_input = 0;
    std::vector<LayerTape<T>> layers;
    T* dz[2] = {nullptr, nullptr};  // each as wide as the widest layer, the input included
    T* target = nullptr;
    std::size_t ld_target = 0;
    std::int32_t* label = nullptr;
    T* weight = nullptr;
    double* partial_loss = nullptr;
    T* panels = nullptr;  // one a thread
    std::size_t panel_size = 0;

    // Makes room; keeps what it has where that is enough.
    void reserve(const std::vector<DenseLayer<T>>& net, const std::vector<double>& dropout, std::size_t targets,
                 std::size_t wanted_rows, std::size_t wanted_threads) {
        if (wanted_rows <= rows && wanted_threads <= threads && targets == targets_) return;
        rows = wanted_rows > rows ? wanted_rows : rows;
        threads = wanted_threads > threads ? wanted_threads : threads;
        targets_ = targets;
        carve(net, dropout, nullptr);
        storage_ = Buffer<std::byte>(used_);
        carve(net, dropout, storage_.data());
    }

    T* panel(std::size_t worker) const { return panels + worker * panel_size; }

private:
    // Assigns the views; with a null base it only counts.
    void carve(const std::vector<DenseLayer<T>>& net, const std::vector<double>& dropout, std::byte* base) {
        used_ = 0;
        ld_input = leading_dimension<T>(net.front().in);
        input = take<T>(base, rows * ld_input);
        layers.assign(net.size(), {});
        std::size_t widest = ld_input, deepest = 0;
        for (std::size_t l = 0; l < net.size(); ++l) {
            LayerTape<T>& tape = layers[l];
            tape.ld = leading_dimension<T>(net[l].out);
            tape.output = take<T>(base, rows * tape.ld);
            if (stores_derivative(net[l].activation)) tape.derivative = take<T>(base, rows * tape.ld);
            if (l < dropout.size() && dropout[l] > 0) {
                tape.mask = take<T>(base, rows * tape.ld);
                tape.dropped = take<T>(base, rows * tape.ld);
            }
            widest = widest > tape.ld ? widest : tape.ld;
            const std::size_t depth = net[l].in > net[l].out ? net[l].in : net[l].out;
            deepest = deepest > depth ? deepest : depth;
        }
        for (T*& d : dz) d = take<T>(base, rows * widest);
        ld_target = leading_dimension<T>(targets_);
        target = take<T>(base, rows * ld_target);
        label = take<std::int32_t>(base, rows);
        weight = take<T>(base, rows);
        partial_loss = take<double>(base, rows);
        panel_size = padded_size<T>(kernels<T>().panel_size(deepest));
        panels = take<T>(base, threads * panel_size);
    }

    // A vector's worth beyond the end: kernels write whole vectors.
    template <class U>
    static std::size_t padded_size(std::size_t n) {
        constexpr std::size_t line = alignment / sizeof(U);
        return (n + 2 * line - 1) / line * line;
    }

    template <class U>
    U* take(std::byte* base, std::size_t n) {
        const std::size_t offset = used_;
        used_ += padded_size<U>(n) * sizeof(U);
        return base != nullptr ? reinterpret_cast<U*>(base + offset) : nullptr;
    }

    Buffer<std::byte> storage_;
    std::size_t used_ = 0, targets_ = 0;
};

}  // namespace fusednet
