// A dense network over one flat parameter buffer and one flat gradient buffer.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <vector>

#include "core/busy.h"
#include "core/dense.h"
#include "core/heartbeat.h"
#include "core/loss.h"
#include "core/optimizer.h"
#include "core/relaxed.h"
#include "core/team_trial.h"
#include "core/workspace.h"

namespace fusednet {

struct LayerConfig {
    std::size_t in, out;
    Activation activation;
    bool bias;
    double dropout;  // rate on the layer's output; 0 for the last
};

struct NetworkConfig {
    std::vector<LayerConfig> layers;
    Loss loss = Loss::mse;
    double loss_parameter = 1.0;
    Relaxed<double> l2 = 0.0;
    Relaxed<std::uint64_t> seed = std::uint64_t{0};  // of dropout
    // Whether to follow the conventions of scikit-learn's MLP. The L2 term is divided by the batch's weight. half_mse
    // is averaged over the outputs, its gradient is not; binary_cross_entropy and poisson are summed over them; the
    // cross-entropies are those of probabilities clipped to [ε, 1 − ε]. An epoch's loss is averaged by rows, whatever
    // their weights, which may be negative. A loss that is not finite does not stop the training.
    bool scikit_learn = false;
};

// A part of a batch whose other parts are elsewhere, on other machines.
struct BatchPart {
    double share = 1.0;         // by which the gradient of this part's mean loss counts in the batch's
    std::size_t first_row = 0;  // in the batch; dropout goes by it
    // Called with a layer's index once its gradient is stored, the last layer's first. (Of a large batch during its
    // last block; of one that a team shares by blocks, at the end.)
    const std::function<void(std::size_t)>* after_layer = nullptr;
};

template <class T>
class Network {
public:
    using Element = T;

    explicit Network(NetworkConfig, CustomLoss<T> = nullptr);
    // One layer of another network, on its buffers.
    Network(const Network& parent, std::size_t layer);

    const NetworkConfig& config() const { return config_; }
    const std::vector<DenseLayer<T>>& layers() const { return layers_; }
    const Buffer<T>& parameters() const { return parameters_; }
    const Buffer<T>& gradient() const { return gradient_; }
    std::size_t inputs() const { return layers_.front().in; }
    std::size_t outputs() const { return layers_.back().out; }
    std::size_t labels() const { return layers_.back().activation == Activation::softmax ? 1 : outputs(); }
    std::size_t offset(std::size_t layer) const { return layers_[layer].offset; }
    bool has_custom_loss() const { return config_.loss == Loss::custom; }

    // In one pass; returns whether all are finite.
    bool copy_parameters(T* out) const;

    double l2() const { return config_.l2; }
    void set_l2(double value) { config_.l2 = value; }
    std::uint64_t seed() const { return config_.seed; }
    void set_seed(std::uint64_t seed) { config_.seed = seed; }
    std::uint64_t dropout_step() const { return dropout_step_; }
    void set_dropout_step(std::uint64_t step) { dropout_step_ = step; }
    void set_trainable(std::size_t layer, bool trainable) { layers_[layer].trainable = trainable; }

    // How inputs are to be read from then on; by nullptr as they are. Callers keep what they read by: another may be
    // set meanwhile.
    void standardize(std::shared_ptr<const Standardization>);
    std::shared_ptr<const Standardization> standardization() const {
        return standardized_ ? std::atomic_load(&standardization_) : nullptr;
    }

    // Held while settings or optimizer states are changed from outside.
    Busy claim() { return Busy(*occupancy_); }
    const std::shared_ptr<Occupancy>& occupancy() const { return occupancy_; }

    // Keeps what `backward` needs. Standardizes x. out: (rows, outputs), contiguous.
    void forward(InputMatrix x, bool training, T* out);
    // From dL/dy, as wide as the last forward's output: fills the gradient; dx: (rows, inputs), contiguous.
    void backward(const InputMatrix& dy, T* dx);

    // Re-entrant. out: (rows, outputs), its strides in elements. Without the output activation where `logits`.
    void predict(const InputMatrix& x, T* out, std::ptrdiff_t row_stride, std::ptrdiff_t column_stride,
                 bool logits) const;
    // Re-entrant. By the logits: the likeliest class of softmax; or 1 for each output of sigmoid that is
    // above 0.5, else 0. out: (rows, labels).
    void predict_classes(const InputMatrix& x, std::int64_t* out) const;
    // Re-entrant. prediction: (rows, outputs), contiguous, or null. classes: of the losses that take logits, as
    // predict_classes gives them, or null.
    double loss(const Samples&, T* prediction = nullptr, std::int64_t* classes = nullptr) const;

    double loss_and_gradient(const Samples&);  // no dropout
    double train_step(const Samples&, const Optimizer&);

    // A training step in two: the gradient of one part of the batch, dropout included, times its share; and, once the
    // caller has added those of the other parts, the update by what is then in `gradient`. The first returns the part's
    // mean loss.
    double part_gradient(const Samples&, const RowSelection&, const BatchPart&);
    void update(const Optimizer&);

    // One epoch of minibatches over `count` rows: those in `order`, or the first ones. Returns the samples' mean loss.
    // `heartbeat` is called every 50 ms or so with the rows done and may throw to stop between two steps.
    double train_epoch(const Samples&, const Optimizer&, std::size_t batch_size, const std::int64_t* order,
                       std::size_t count, const Heartbeat::Callback& heartbeat);

    OptimizerState<T>* find_state(const Optimizer&);
    OptimizerState<T>& state(const Optimizer&);  // made at first use
    void drop_state(const Optimizer&);

private:
    struct StepResult {
        double loss, weight;
    };

    void build();
    double step_flops(std::size_t rows) const;
    std::size_t wanted_threads(std::size_t rows, std::size_t steps = 1) const;
    std::size_t step_threads(std::size_t batch, std::size_t steps = 1) const;
    void reserve(std::size_t rows, std::size_t batch, std::size_t targets, const Team&);
    void reserve_step(const Samples&, std::size_t batch, const Team&);

    // `following`: how many rows come after these in the next step. They are read ahead.
    StepResult step(const Samples&, const RowSelection&, const Optimizer*, bool dropout, const Team&,
                    const BatchPart& = {}, std::size_t following = 0);
    bool rows_are_divisible() const;
    std::size_t near_rows() const;
    bool is_large(std::size_t batch) const { return batch > near_rows_; }
    bool shares_blocks(std::size_t batch, const Team&) const;
    double large_batch_gradient(const Samples&, const RowSelection&, double scale, double decay, bool dropout,
                                const Team&, const BatchPart&, std::size_t following);
    void add_gradients(T* total, const T* slots, std::size_t count, const Team&) const;
    bool shares_rows(std::size_t batch, std::size_t threads) const;
    bool keeps_columns(std::size_t threads) const;
    double pass_by_rows(const Samples&, const RowSelection&, double scale, bool dropout, const Team&, const BatchPart&,
                        std::size_t following, bool columns);
    void backward_by_parts(std::size_t m, const GradientFactors<T>&, const Team&, bool columns);
    TeamTrial* trial(std::size_t rows, const Team&);
    StepResult tried_step(TeamTrial*, const Samples&, const RowSelection&, const Optimizer&, const Team&,
                          std::size_t batch, std::size_t following);
    void read_ahead(Workspace<T>&, std::size_t worker, const Samples&, const RowSelection&, std::size_t begin,
                    std::size_t end, std::size_t count) const;
    // Before gather(), which takes these rows or parts of them. Few are copied: the smallest networks can't lose time.
    void place(Workspace<T>& work, const Samples& samples, const RowSelection& rows) const {
        if (work.reads_copies() && are_few<T>(samples.x, rows) && are_few<T>(samples.y, rows)) return;
        place_anew(work, samples, rows);
    }
    void place_anew(Workspace<T>&, const Samples&, const RowSelection&) const;
    bool is_own(const MatrixView<const T>&) const;
    void gather(Workspace<T>&, const Samples&, const RowSelection&, std::size_t at, const Team&, bool look = true);
    WeightSum batch_weights(const Samples&, const RowSelection&);
    void check_weights(const Samples&) const;
    void forward_layers(const Workspace<T>&, std::size_t at, std::size_t m, bool logits, const Team&, const Scratch<T>&,
                        std::size_t first_row, bool first_is_done = false);
    bool looks_at_sums(const Workspace<T>&, const Team&) const;
    Activation first_activation() const;
    void forward_first(Workspace<T>&, const Samples&, const RowSelection&);
    void set_dropout(Workspace<T>&, bool dropout);
    LossArguments<T> loss_arguments(const Workspace<T>&, const Samples&, std::size_t first, std::size_t m,
                                    double scale);
    double forward_pass(Workspace<T>&, const Samples&, const RowSelection&, std::size_t first, double scale,
                        bool dropout, const Team&, std::size_t first_row);
    double loss_gradient(Workspace<T>&, const Samples&, std::size_t first, std::size_t m, double scale, const Team&);
    LossFactors loss_factors() const {
        return config_.scikit_learn ? scikit_learn_factors(config_.loss, outputs()) : LossFactors{};
    }
    double clip() const { return config_.scikit_learn ? std::numeric_limits<T>::epsilon() : 0.0; }
    double penalty_factor(double weight) const;
    double penalty(double weight, const Team&) const;
    double gradient_norm(const Team&) const;
    bool steps_by_rows(const Optimizer&, bool shared) const;
    std::size_t lowest_trainable() const;
    BelowLayer<T> below(const Workspace<T>&, std::size_t layer, std::size_t at) const;
    MatrixView<const T> layer_input(const Workspace<T>&, std::size_t layer, std::size_t m) const;
    void backward_layers(Workspace<T>&, std::size_t m, const GradientFactors<T>&, bool input, const Team&,
                         const BatchPart& = {});
    void apply(const Optimizer&, const Team&);

    NetworkConfig config_;
    CustomLoss<T> custom_loss_;
    Buffer<T> parameters_, gradient_;
    std::vector<DenseLayer<T>> layers_;
    std::size_t weights_ = 0;            // of all layers
    std::size_t near_rows_ = 0;          // of a batch whose step stays near the core, or may not be divided
    std::vector<double> dropout_;        // a rate for each layer; 0 for the last
    Relaxed<bool> standardized_{false};  // whether there is a standardization: quicker to ask
    std::shared_ptr<const Standardization> standardization_;
    Workspace<T> workspace_;
    // Of each other thread of a team that takes blocks of a large batch, and what of their gradients is to be added.
    std::vector<Workspace<T>> helpers_;
    Buffer<T> block_gradients_;
    std::vector<OptimizerState<T>> states_;
    Relaxed<std::uint64_t> dropout_step_{0};
    std::map<std::size_t, TeamTrial> trials_;  // by the rows of a batch
    std::size_t forward_rows_ = 0;             // of which `backward` finds what it needs; 0: nothing is kept
    std::shared_ptr<Occupancy> occupancy_ = std::make_shared<Occupancy>();  // of the layers too
};

}  // namespace fusednet
