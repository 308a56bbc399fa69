// The interface between the instruction-set neutral core and the kernels: plain sizes and pointers, one struct of
// function pointers per kernel set and element type. No inline functions but constexpr ones the compiler folds: this
// header is seen by translation units compiled for different processors.
#pragma once

#include <cstddef>
#include <cstdint>

#define FUSEDNET_ALWAYS_INLINE __attribute__((always_inline))  // of a lambda, after its parameters
#define FUSEDNET_INLINE inline FUSEDNET_ALWAYS_INLINE

namespace fusednet {

// AMD's processors with AVX-512, whose second-level cache supplies a core more quickly than a tile asks it to. Four is
// Zen 4, which computes a register of AVX-512 in two halves; five is Zen 5 as servers have it, and what comes after it.
enum class Zen { none, four, five };

// Where a network's parameters are when they are used again: in the core's second-level cache, or beyond it. Where that
// is unknown, the size of each W has to tell.
enum class Place { unknown, near, far };

// Of the caller's arrays.
enum class DType : int { boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64 };

enum class Activation : int { identity, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, softplus, exp, softmax };

// log_poisson is poisson by the logarithm of the prediction.
enum class Loss : int {
    mse,
    half_mse,
    mae,
    huber,
    cross_entropy,
    binary_cross_entropy,
    poisson,
    quantile,
    log_poisson,
    custom
};

// The last three are scikit-learn's: the learning rate inside the velocity, Adam's ε inside the bias correction.
enum class UpdateRule : int {
    sgd,
    momentum,
    nesterov,
    adam,
    adamw,
    rmsprop,
    inner_momentum,
    inner_nesterov,
    inner_adam
};

// Some rows of a matrix of any type and strides. Where means are given, elements are (x − mean)·inverse_deviation of
// their column, computed in double precision.
struct SourceRows {
    const void* data;
    DType dtype;
    std::ptrdiff_t row_stride, column_stride;  // bytes
    const std::int64_t* index;                 // the rows' numbers; null: first, first + 1, …
    std::size_t first, count, columns;
    const double* mean = nullptr;
    const double* inverse_deviation = nullptr;
};

// Some rows of a matrix.
struct RowList {
    const char* data = nullptr;           // of row 0
    std::ptrdiff_t stride = 0;            // bytes
    const std::int64_t* index = nullptr;  // the rows' numbers; null: first, first + 1, …
    std::size_t first = 0, count = 0, bytes = 0;
};

// Rows that somebody will read next, of one matrix and then of another. The products bring them into the second-level
// cache on the way, a few lines at a time, and take them off: with each tile; and, if they are many beside what there
// is to compute, amid tiles.
struct ReadAhead {
    RowList rows, others;
    std::size_t burst = 0;       // lines at a time
    std::size_t flops = 0;       // between two bursts amid tiles; 0: there are none
    bool uncached = false;       // they are part of more than a cache is likely to hold
    const char* line = nullptr;  // the next one, of a row that ends at `end`
    const char* end = nullptr;
};

// Y (m, n) = f(X (m, k) · W (k, n) + b). Rows of Y (and of `derivative`) have room for n rounded up to whole vectors.
template <class T>
struct DenseForward {
    const T* x;
    std::size_t ldx;  // X may be the caller's: nothing may be read before its first row or beyond its last
    const T* w;
    std::size_t ldw;
    const T* bias;  // n, or null
    T* y;
    std::size_t ldy;
    T* derivative;  // f'(z), same leading dimension as y, or null; only for activations that store it
    std::size_t m, k, n;
    Activation activation;  // softmax is applied by rows, through KernelTable::softmax
    T* panel;               // scratch of KernelTable::panel_size(k) elements
    ReadAhead* ahead = nullptr;
    // Add to Y, not to b, for n > 1: the same bits as in one go where n is whole vectors, the batch less than
    // many_rows.
    bool continued = false;
    Zen zen = Zen::none;  // cpu_features()'s: decides how to go through W
    Place place = Place::unknown;
    std::size_t batch = 0;  // the rows of which these are some, if they are not all
};

// dX (m, k) = (dZ (m, n) · W (k, n)ᵀ) ∘ f'(saved) ∘ mask. Rows of dX have room for whole vectors.
template <class T>
struct InputGradient {
    const T* dz;
    std::size_t lddz;
    const T* w;
    std::size_t ldw;
    T* dx;
    std::size_t lddx;
    const T* saved;   // the activation's output, or f'(z) where the activation stores it; null: no factor
    const T* mask;    // dropout's factor, or null
    std::size_t lds;  // leading dimension of saved and mask
    std::size_t m, k, n;
    Activation activation;
    T* scratch;  // of KernelTable::input_scratch(m, n) elements
    ReadAhead* ahead = nullptr;
    Zen zen = Zen::none;    // cpu_features()'s: decides how AVX-512 goes through the batch and W
    std::size_t batch = 0;  // the rows of which these are some, if they are not all
};

// The sets of a first-level cache, of 64 with lines of 64 bytes, to which rows so many bytes apart map a column's
// lines. (Never a symbol of its own, see above.)
FUSEDNET_ALWAYS_INLINE constexpr std::size_t column_sets(std::size_t stride) {
    constexpr std::size_t way = 4096;
    return way >> __builtin_ctzll(stride | way);
}

// The gradient of a batch of m rows is summed by blocks: each by chains of its own, to which the next are added. They
// are nearly equal, as many for one of two threads as for the other, and each begins at a multiple of eight rows.
// (Never symbols of their own, see above.)
constexpr std::size_t most_block_rows = 320;
FUSEDNET_ALWAYS_INLINE constexpr std::size_t block_count(std::size_t m) {
    return m <= most_block_rows ? 1 : (m + 2 * most_block_rows - 1) / (2 * most_block_rows) * 2;
}
// The first row of a block of so many; of the one after the last, m.
FUSEDNET_ALWAYS_INLINE constexpr std::size_t block_begin(std::size_t m, std::size_t blocks, std::size_t block) {
    return block == blocks ? m : (m * block / blocks + 7) / 8 * 8;
}

// out (k, n) = factor · (X (m, k)ᵀ · dZ (m, n) + decay · W (k, n)), added to W where `update`. `out` may be W itself.
// The decay joins the gradient first: a factor 1 − α·λ of W would be rounded, in float32 to 1 where λ is small.
template <class T>
struct WeightGradient {
    const T* x;
    std::size_t ldx;  // X may be the caller's: nothing may be read beyond its rows
    const T* dz;
    std::size_t lddz;  // rows of dZ have room for whole vectors
    const T* w;
    T* out;
    std::size_t ldw;  // of w and out
    std::size_t m, k, n;
    T factor, decay;
    bool update;
    T* scratch;  // of KernelTable::weight_scratch(m, ldw) elements
    // Of the W that these are some rows of: it may be far from the core, a vector or less, or large. By many_rows, it
    // is cut at whole vectors of rows: the last ones beyond those may have other bits.
    std::size_t all_rows;
    bool shared;   // by a team: other cores have read these rows, and written some of dZ and mostly of X
    bool distant;  // cpu_features()'s: other cores and what lies beyond this one's caches are far
    ReadAhead* ahead = nullptr;
};

// out (n) = factor · (Σ_rows dZ (m, n) + decay · b (n)), added to b where `update`. `out` may be b itself.
template <class T>
struct BiasGradient {
    const T* dz;
    std::size_t lddz;
    const T* b;
    T* out;
    std::size_t m, n;
    T factor, decay;
    bool update;
};

// Returns Σ_rows weightᵢ · Lᵢ and writes gradient = scale · weightᵢ · ∂Lᵢ/∂prediction. cross_entropy,
// binary_cross_entropy and log_poisson take logits and differentiate by them; every other loss takes the output. For
// the rows of prediction and gradient holds what KernelTable::softmax says of its own.
template <class T>
struct LossArguments {
    Loss loss;
    double parameter;  // huber: δ, quantile: q
    const T* prediction;
    std::size_t ldp;
    const T* target;  // (rows, columns), or null where labels are given
    std::size_t ldt;
    const std::int32_t* label;  // (rows), cross_entropy only
    const T* weight;            // (rows), or null for ones
    T* gradient;                // (rows, columns), or null; may be the prediction itself
    std::size_t ldg;
    std::size_t rows, columns;
    double scale;
    double clip = 0;  // cross-entropies: the value is that of probabilities clipped to [clip, 1 − clip], targets 0 or 1
};

// Those of so many of its rows.
template <class T>
FUSEDNET_ALWAYS_INLINE constexpr LossArguments<T> rows_of(LossArguments<T> a, std::size_t first, std::size_t count) {
    a.rows = count;
    a.prediction += first * a.ldp;
    if (a.target != nullptr) a.target += first * a.ldt;
    if (a.label != nullptr) a.label += first;
    if (a.weight != nullptr) a.weight += first;
    if (a.gradient != nullptr) a.gradient += first * a.ldg;
    return a;
}

// One pass of an optimizer over n parameters. Which fields count depends on the rule; see updates.inl.
struct UpdateArguments {
    UpdateRule rule;
    double learning_rate, weight_decay;
    double beta1, beta2, epsilon;     // momentum or β₁; β₂ or ρ; ε
    double correction1, correction2;  // Adam: 1 − β₁ᵗ and 1 − β₂ᵗ
    bool drop_subnormal = false;      // from the moments
    bool backward = false;            // Adam by AMX: W's last rows first, which the step before has left near
};

// An optimizer's step of parameters w, with what it remembers of each, which is null where its rule doesn't.
template <class T>
struct OptimizerStep {
    const UpdateArguments* arguments;
    T* w;
    T* first;
    T* second;

    // For the parameters from there on. (Never a symbol of its own, see above.)
    FUSEDNET_ALWAYS_INLINE constexpr OptimizerStep from(std::size_t offset) const {
        return {arguments, w + offset, first != nullptr ? first + offset : nullptr,
                second != nullptr ? second + offset : nullptr};
    }
};

// Inverted dropout: mask is 0 or 1/(1 − rate), out = a ∘ mask. The draw depends only on seed, step, layer, row, column.
template <class T>
struct DropoutArguments {
    const T* a;
    T* mask;
    T* out;
    std::size_t ld;  // of a, mask and out
    std::size_t rows, columns, first_row;
    double rate;
    std::uint64_t seed, step;
    std::uint32_t layer;
};

template <class T>
struct KernelTable {
    std::size_t lanes;          // elements of one vector
    std::size_t tile_rows;      // the most rows of one register tile
    std::size_t panel_columns;  // columns of one packed panel; work is split at multiples of it
    std::size_t many_rows;      // from which on the rows of a batch may have other bits than those of a smaller one
    std::size_t (*panel_size)(std::size_t depth);
    std::size_t (*input_scratch)(std::size_t m, std::size_t n);
    std::size_t (*weight_scratch)(std::size_t m, std::size_t ldw);

    void (*dense_forward)(const DenseForward<T>&);
    void (*input_gradient)(const InputGradient<T>&);
    void (*weight_gradient)(const WeightGradient<T>&);
    void (*bias_gradient)(const BiasGradient<T>&);
    // W takes the step by the gradient of WeightGradient, which `out` has room for and may receive. The step is that of
    // W, its rows as far apart.
    void (*weight_step)(const WeightGradient<T>&, const OptimizerStep<T>&);

    // y = f(z) over n contiguous elements, derivative = f'(z) where it is not null.
    void (*activation)(Activation, const T* z, T* y, T* derivative, std::size_t n);
    // out = g ∘ f', from the activation's output (or f'(z), where the activation stores it). out may be g.
    void (*activation_backward)(Activation, const T* saved, const T* g, T* out, std::size_t n);
    // Row-wise; y may be z. Where a leading dimension is no less than the columns rounded up to whole vectors, each
    // row, the last, too, has room for those: what is there may be read, and overwritten in y. Backward: out = p ∘ (g −
    // Σ g·p); out may be g.
    void (*softmax)(const T* z, std::size_t ldz, T* y, std::size_t ldy, std::size_t rows, std::size_t columns);
    void (*softmax_backward)(const T* p, std::size_t ldp, const T* g, std::size_t ldg, T* out, std::size_t ldo,
                             std::size_t rows, std::size_t columns);
    // out[i] = the first of row i's largest elements, NaN passed over; 0 where its first is NaN. Rows as softmax's.
    void (*argmax)(const T* z, std::size_t ldz, std::int64_t* out, std::size_t rows, std::size_t columns);

    double (*loss)(const LossArguments<T>&);
    void (*update)(const UpdateArguments&, T* w, const T* g, T* state1, T* state2, std::size_t n);
    void (*dropout)(const DropoutArguments<T>&);

    // out = the rows as T. Returns how many leading rows were finite: all where all are.
    std::size_t (*gather)(const SourceRows&, T* out, std::size_t ldo);
    double (*sum_squares)(const T* x, std::size_t n);
    void (*scale)(T* x, T factor, std::size_t n);
};

struct KernelSet {
    const char* name;
    KernelTable<float> f32;
    KernelTable<double> f64;
};

// True for activations whose derivative cannot be had from the output alone and is stored by the training forward.
constexpr bool stores_derivative(Activation f) {
    return f == Activation::gelu || f == Activation::silu || f == Activation::softplus;
}

}  // namespace fusednet
