// Everything a training step writes beside parameters and gradient, or one thread's part of it: one allocation, carved
// into views and kept for the next step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
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
    std::size_t rows = 0, batch = 0;  // capacity: rows that are taken forward and back at once; weights and sums
    T* input = nullptr;
    std::size_t ld_input = 0;
    std::vector<LayerTape<T>> layers;
    T* dz[2] = {nullptr, nullptr};  // each as wide as the widest layer, the input included
    T* target = nullptr;
    std::size_t ld_target = 0;
    std::int32_t* label = nullptr;
    double* partial_loss = nullptr;
    T* weight = nullptr;          // of each row of a batch
    double* batch_sum = nullptr;  // for sums over a batch: of its weights, then by its blocks
    ReadAhead ahead;              // of the inputs of the next step

    // Makes room; keeps what it has where that is enough. Throws std::bad_alloc, and is then empty.
    void reserve(const std::vector<DenseLayer<T>>& net, const std::vector<double>& dropout, std::size_t targets,
                 std::size_t wanted_rows, std::size_t wanted_batch) {
        if (wanted_rows <= rows && wanted_batch <= batch && targets <= targets_) return;
        const std::size_t new_rows = std::max(rows, wanted_rows), new_batch = std::max(batch, wanted_batch),
                          new_targets = std::max(targets, targets_);
        rows = batch = targets_ = 0;
        storage_ = {};
        carve(net, dropout, new_rows, new_batch, new_targets, nullptr);
        storage_ = Buffer<std::byte>(used_);
        carve(net, dropout, new_rows, new_batch, new_targets, storage_.data());
        rows = new_rows;
        batch = new_batch;
        targets_ = new_targets;
    }

    // Panels are apart from the rest: the team may grow between a forward and its backward.
    void reserve_panels(const std::vector<DenseLayer<T>>& net, std::size_t workers) {
        const KernelTable<T>& k = kernels<T>();
        constexpr std::size_t line = alignment / sizeof(T);
        std::size_t wanted = 0;
        for (const DenseLayer<T>& l : net) {
            wanted = std::max({wanted, k.panel_size(l.in), k.panel_size(l.out), k.weight_scratch(rows, l.out)});
        }
        wanted = (wanted + line - 1) / line * line;
        if (wanted <= panel_size_ && workers * panel_size_ <= panels_.size()) return;
        const std::size_t size = std::max(wanted, panel_size_);
        panels_ = Buffer<T>(workers * size);
        panel_size_ = size;
    }

    Scratch<T> scratch() { return {panels_.data(), panel_size_, &ahead}; }

private:
    // Assigns the views; with a null base it only counts.
    void carve(const std::vector<DenseLayer<T>>& net, const std::vector<double>& dropout, std::size_t m,
               std::size_t whole, std::size_t targets, std::byte* base) {
        used_ = 0;
        ld_input = leading_dimension<T>(net.front().in);
        input = take<T>(base, m, ld_input);
        layers.assign(net.size(), {});
        std::size_t widest = ld_input;
        for (std::size_t l = 0; l < net.size(); ++l) {
            LayerTape<T>& tape = layers[l];
            tape.ld = leading_dimension<T>(net[l].out);
            tape.output = take<T>(base, m, tape.ld);
            if (stores_derivative(net[l].activation)) tape.derivative = take<T>(base, m, tape.ld);
            if (dropout[l] > 0) {
                tape.mask = take<T>(base, m, tape.ld);
                tape.dropped = take<T>(base, m, tape.ld);
            }
            widest = std::max(widest, tape.ld);
        }
        for (T*& d : dz) d = take<T>(base, m, widest);
        ld_target = leading_dimension<T>(targets);
        target = take<T>(base, m, ld_target);
        label = take<std::int32_t>(base, m, 1);
        partial_loss = take<double>(base, m, 1);
        weight = take<T>(base, whole, 1);
        batch_sum = take<double>(base, whole, 1);
    }

    // Room for count · width elements and a vector's worth beyond: kernels write whole vectors.
    template <class U>
    U* take(std::byte* base, std::size_t count, std::size_t width) {
        constexpr std::size_t limit = std::size_t{1} << 62;
        if (width > 0 && count > (limit - used_) / (2 * sizeof(U)) / width) throw std::bad_alloc();
        const std::size_t offset = used_;
        used_ += (count * width * sizeof(U) + 2 * alignment - 1) / alignment * alignment;
        return base != nullptr ? reinterpret_cast<U*>(base + offset) : nullptr;
    }

    Buffer<std::byte> storage_;
    Buffer<T> panels_;  // one a thread
    std::size_t used_ = 0, targets_ = 0, panel_size_ = 0;
};

}  // namespace fusednet
