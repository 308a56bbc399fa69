// One dense layer on views of the flat buffers: forward, beside its backward. Shapes: x (m, in), y (m, out).
#pragma once

#include <algorithm>

#include "core/buffer.h"
#include "core/matrix_view.h"
#include "core/relaxed.h"
#include "core/thread_pool.h"
#include "kernels/dispatch.h"

namespace fusednet {

template <class T>
struct DenseLayer {
    std::size_t in, out;
    Activation activation;
    bool has_bias;
    Relaxed<bool> trainable = true;
    T* w;                // (in, out)
    T* b;                // (out), or null
    std::size_t offset;  // of w, which b follows, among the network's parameters
    Place place = Place::unknown;

    std::size_t parameter_count() const { return in * out + (has_bias ? out : 0); }
    double flops(std::size_t rows) const { return 2.0 * static_cast<double>(rows) * static_cast<double>(in * out); }
};

// A single column is contiguous. Wider rows are whole vectors long, and a line longer if they would map the elements of
// a column to few cache sets.
template <class T>
std::size_t leading_dimension(std::size_t columns) {
    if (columns <= 1) return columns;
    const std::size_t lanes = kernels<T>().lanes;
    const std::size_t padded = (columns + lanes - 1) & ~(lanes - 1);  // a power of two
    constexpr std::size_t few = 8;
    return column_sets(padded * sizeof(T)) <= few ? padded + alignment / sizeof(T) : padded;
}

// Scratch of the team: panel(worker) has room for what the kernels that are called want (KernelTable::panel_size,
// input_scratch, weight_scratch). The rows to read ahead are the caller's: it is worker 0.
template <class T>
struct Scratch {
    T* panels;
    std::size_t size;
    ReadAhead* ahead;
    bool shared = false;    // with threads that compute, and update, the rest of the step by themselves
    std::size_t batch = 0;  // the rows of which a call has some, if it has not all

    T* panel(std::size_t worker) const { return panels + worker * size; }
    ReadAhead* rows_ahead(std::size_t worker) const { return worker == 0 ? ahead : nullptr; }
};

// Whether all products of so many rows, those of the backward pass too, are more than one task for a team.
template <class T>
bool is_divisible(const DenseLayer<T>&, std::size_t rows);

// y = f(x·W + b); softmax is applied by rows. `derivative` receives f'(z) where the activation stores it, else null.
// With `logits` the activation is left out.
template <class T>
void dense_forward(const DenseLayer<T>&, const T* x, std::size_t ldx, T* y, T* derivative, std::size_t ldy,
                   std::size_t m, bool logits, const Team&, const Scratch<T>&);

// The columns of y in one of several parts (column_part in core/blocks.h).
template <class T>
void forward_columns(const DenseLayer<T>&, const T* x, std::size_t ldx, T* y, T* derivative, std::size_t ldy,
                     std::size_t m, std::size_t part, std::size_t parts, const Scratch<T>&);

// KernelTable::dropout by a team.
template <class T>
void dense_dropout(const DropoutArguments<T>&, const Team&);

// dz = dy ∘ f'(z) (softmax: p∘(g − Σ g·p)), in place. `saved` is y, or f'(z) where the activation stores it.
template <class T>
void output_gradient(const DenseLayer<T>&, const T* saved, T* dy, std::size_t ld, std::size_t m, const Team&);

// Where the gradient by a layer's input goes: dx = (dz·Wᵀ) ∘ f'(saved) ∘ mask, for the layer below's activation f;
// saved and mask may be null, and dx where nobody needs it. All have the leading dimension of the layer's input.
template <class T>
struct BelowLayer {
    T* dx;
    Activation activation;
    const T* saved;
    const T* mask;
};

// What becomes of a layer's own gradient: factor · (∂L/∂θ + decay · θ), which is added to w and b (a fused update), or
// by which they take the optimizer's step; without one it is stored.
template <class T>
struct GradientFactors {
    T factor, weight_decay, bias_decay;
    T* gradient;                             // of all the network's parameters; null: fused
    const OptimizerStep<T>* step = nullptr;  // of all of them
    bool added = false;                      // to what `gradient` holds
};

// The gradient of a layer that is not trained is zero, where one is stored.
template <class T>
void clear_untrained(const DenseLayer<T>& layer, const GradientFactors<T>& factors) {
    if (layer.trainable || factors.gradient == nullptr) return;
    std::fill_n(factors.gradient + layer.offset, layer.parameter_count(), T(0));
}

// The gradient by so many rows of the layer's input, whose leading dimension is ldx.
template <class T>
void input_gradient(const DenseLayer<T>&, const T* dz, std::size_t lddz, std::size_t m, const BelowLayer<T>&,
                    std::size_t ldx, const Scratch<T>&);

// One of several parts of the gradient by a trainable layer's parameters, and what becomes of it: some rows of W, if
// there are enough for so many, or those columns that forward_columns has read, and no other thread.
template <class T>
void parameter_gradient(const DenseLayer<T>&, const T* x, std::size_t ldx, const T* dz, std::size_t lddz, std::size_t m,
                        const GradientFactors<T>&, std::size_t part, std::size_t parts, bool columns,
                        const Scratch<T>&);

// The gradients by the layer's input x, and by its parameters where it is trainable.
template <class T>
void dense_backward(const DenseLayer<T>&, const T* x, std::size_t ldx, const T* dz, std::size_t lddz, std::size_t m,
                    const BelowLayer<T>&, const GradientFactors<T>&, const Team&, const Scratch<T>&);

}  // namespace fusednet
