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
    T* dz;          // the gradient by z: see Workspace::keep_dz
    std::size_t ld;
    bool dropout_applied;  // by the last forward

    // The same of the rows from there on.
    LayerTape from(std::size_t row) const {
        const auto shifted = [=](T* m) { return m != nullptr ? m + row * ld : nullptr; };
        return {shifted(output), shifted(derivative), shifted(mask), shifted(dropped), shifted(dz), ld,
                dropout_applied};
    }

    const T* next_input() const { return dropout_applied ? dropped : output; }
    const T* saved() const { return derivative != nullptr ? derivative : output; }  // what f'(z) follows from
};

template <class T>
struct Workspace {
    std::size_t rows = 0, batch = 0;  // capacity: rows that are taken forward and back at once; weights and sums
    T* input = nullptr;
    std::size_t ld_input = 0;
    std::vector<LayerTape<T>> layers;
    T* dx = nullptr;  // the gradient by the input
    T* target = nullptr;
    std::size_t ld_target = 0;
    const T *x = nullptr, *y = nullptr;  // the rows and their targets: `input` and `target`, or where they lie
    std::size_t ldx = 0, ldy = 0;
    std::int32_t* label = nullptr;
    double* partial_loss = nullptr;  // of a batch's chunks
    T* weight = nullptr;             // of each row of a batch
    double* batch_sum = nullptr;     // for sums over a batch: of its weights, then by its blocks

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
        read_copies();
        keeps_dz_ = false;
    }

    // The rows and their targets are copied, as they are until somebody says where else they lie.
    void read_copies() {
        x = input;
        y = target;
        ldx = ld_input;
        ldy = ld_target;
    }
    bool reads_copies() const { return x == input && y == target; }

    // Room for the dz of all layers, apart from the rest: they need not be kept for so many rows.
    void reserve_dz(const std::vector<DenseLayer<T>>& net, std::size_t wanted_rows) {
        if (wanted_rows <= dz_rows_) return;
        keep_dz(false);
        std::size_t size = 0;
        for (const DenseLayer<T>& l : net) size += with_room(wanted_rows * leading_dimension<T>(l.out));
        all_dz_ = Buffer<T>(size);
        dz_rows_ = wanted_rows;
    }

    // Whether the dz of all layers are kept, or every other one is in the same place, which is read and written near
    // the core then.
    void keep_dz(bool all) {
        if (all == keeps_dz_) return;
        keeps_dz_ = all;
        T* next = all_dz_.data();
        for (std::size_t l = 0; l < layers.size(); ++l) {
            layers[l].dz = all ? next : every_other_dz_[l % 2];
            if (all) next += with_room(dz_rows_ * layers[l].ld);
        }
    }

    // Panels are apart from the rest: the team may grow between a forward and its backward.
    void reserve_panels(const std::vector<DenseLayer<T>>& net, std::size_t workers) {
        const KernelTable<T>& k = kernels<T>();
        constexpr std::size_t line = alignment / sizeof(T);
        std::size_t wanted = 0;
        for (const DenseLayer<T>& l : net) {
            wanted =
                std::max({wanted, k.panel_size(l.in), k.input_scratch(rows, l.out), k.weight_scratch(rows, l.out)});
        }
        if (ahead_.size() < workers) ahead_.resize(workers);
        wanted = (wanted + line - 1) / line * line;
        if (wanted <= panel_size_ && workers * panel_size_ <= panels_.size()) return;
        const std::size_t size = std::max(wanted, panel_size_);
        panels_ = Buffer<T>(workers * size);
        panel_size_ = size;
    }

    // Of the workers from that one on.
    Scratch<T> scratch(std::size_t worker = 0) {
        return {panels_.data() + worker * panel_size_, panel_size_, &ahead_[worker].rows};
    }

    // The rows that a worker will take next; of all workers none until then.
    void read_ahead(std::size_t worker, const ReadAhead& inputs) { ahead_[worker].rows = inputs; }
    void read_nothing_ahead() { std::fill(ahead_.begin(), ahead_.end(), Ahead{}); }

private:
    // Lines of its own: each thread takes rows off with every tile.
    struct alignas(alignment) Ahead {
        ReadAhead rows;
    };

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
        for (T*& d : every_other_dz_) d = take<T>(base, m, widest);
        for (std::size_t l = 0; l < net.size(); ++l) layers[l].dz = every_other_dz_[l % 2];
        dx = every_other_dz_[1];
        ld_target = leading_dimension<T>(targets);
        target = take<T>(base, m, ld_target);
        label = take<std::int32_t>(base, m, 1);
        partial_loss = take<double>(base, m, 1);
        weight = take<T>(base, whole, 1);
        batch_sum = take<double>(base, whole, 1);
    }

    // So many elements and a vector's worth beyond, since kernels write whole vectors; the next ones are aligned.
    template <class U = T>
    static constexpr std::size_t with_room(std::size_t elements) {
        return (elements * sizeof(U) + 2 * alignment - 1) / alignment * alignment / sizeof(U);
    }

    // Room for count · width elements.
    template <class U>
    U* take(std::byte* base, std::size_t count, std::size_t width) {
        constexpr std::size_t limit = std::size_t{1} << 62;
        if (width > 0 && count > (limit - used_) / (2 * sizeof(U)) / width) throw std::bad_alloc();
        const std::size_t offset = used_;
        used_ += with_room<U>(count * width) * sizeof(U);
        return base != nullptr ? reinterpret_cast<U*>(base + offset) : nullptr;
    }

    Buffer<std::byte> storage_;
    T* every_other_dz_[2] = {nullptr, nullptr};  // each as wide as the widest layer, the input included
    Buffer<T> all_dz_;
    Buffer<T> panels_;  // one a thread
    std::vector<Ahead> ahead_;
    std::size_t used_ = 0, targets_ = 0, panel_size_ = 0, dz_rows_ = 0;
    bool keeps_dz_ = false;
};

}  // namespace fusednet
