#include "core/network.h"

#include <algorithm>

#include "core/check.h"
#include "core/sum_squares.h"

namespace fusednet {

template <class T>
Network<T>::Network(NetworkConfig config, CustomLoss<T> custom_loss)
    : config_(std::move(config)), custom_loss_(std::move(custom_loss)) {
    if (config_.loss == Loss::poisson && config_.layers.back().activation == Activation::exp) {
        config_.loss = Loss::log_poisson;
    }
    std::size_t size = 0;
    for (const LayerConfig& l : config_.layers) size += l.in * l.out + (l.bias ? l.out : 0);
    parameters_ = Buffer<T>(size);
    gradient_ = Buffer<T>(size, 1);
    build();
}

template <class T>
Network<T>::Network(const Network& parent, std::size_t layer) {
    config_.layers = {parent.config_.layers[layer]};
    config_.layers[0].dropout = 0;
    const std::size_t size = parent.layers_[layer].parameter_count();
    parameters_ = parent.parameters_.slice(parent.offset(layer), size);
    gradient_ = parent.gradient_.slice(parent.offset(layer), size);
    occupancy_ = parent.occupancy_;
    build();
}

template <class T>
void Network<T>::build() {
    std::size_t offset = 0;
    for (const LayerConfig& l : config_.layers) {
        const std::size_t weights = l.in * l.out;
        T* const w = parameters_.data() + offset;
        layers_.push_back({l.in, l.out, l.activation, l.bias, true, w, l.bias ? w + weights : nullptr, offset});
        offset += layers_.back().parameter_count();
        weights_ += weights;
        dropout_.push_back(l.dropout);
    }
    near_rows_ = near_rows();
}

// Forward and the two products of the backward pass.
template <class T>
double Network<T>::step_flops(std::size_t rows) const {
    return 6.0 * static_cast<double>(rows) * static_cast<double>(weights_);
}

// Layers of a single task count for nothing: nobody can help with that.
template <class T>
std::size_t Network<T>::wanted_threads(std::size_t rows, std::size_t steps) const {
    double flops = 0;
    for (const DenseLayer<T>& l : layers_) {
        if (is_divisible(l, rows)) flops += 3 * l.flops(rows);
    }
    return threads_for(flops * static_cast<double>(steps), (layers_.size() + 1) * steps);
}

template <class T>
void Network<T>::reserve(std::size_t rows, std::size_t batch, std::size_t targets, const Team& team) {
    forward_rows_ = 0;
    workspace_.reserve(layers_, dropout_, std::max(targets, outputs()), rows, batch);
    workspace_.reserve_panels(layers_, team.size());
    workspace_.ahead = {};
}

template <class T>
void Network<T>::gather(Workspace<T>& work, const Samples& samples, const RowSelection& rows, const Team& team) {
    gather_rows(samples.x, rows, work.input, work.ld_input, "X", team);
    if (samples.labels) {
        gather_labels(samples.y, rows, work.label, outputs());
    } else {
        gather_targets(samples.y, rows, work.target, work.ld_target, config_.loss, team);
    }
}

template <class T>
WeightSum Network<T>::batch_weights(const Samples& samples, const RowSelection& rows) {
    if (samples.weight.empty()) return {static_cast<double>(rows.count), 1.0};
    const WeightSum weights =
        gather_weights(samples.weight, rows, workspace_.weight, workspace_.batch_sum, config_.scikit_learn);
    check(
        weights.sum != 0 || std::all_of(workspace_.weight, workspace_.weight + rows.count, [](T w) { return w == 0; }),
        "sample_weight: expected weights that do not cancel each other in a batch");
    return weights;
}

template <class T>
void Network<T>::forward_layers(Workspace<T>& work, std::size_t m, bool dropout, bool logits, const Team& team,
                                const BatchPart& part) {
    const T* x = work.input;
    std::size_t ldx = work.ld_input;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        LayerTape<T>& tape = work.layers[l];
        dense_forward(layers_[l], x, ldx, tape.output, tape.derivative, tape.ld, m, logits && l + 1 == layers_.size(),
                      team, work.scratch());
        tape.dropout_applied = dropout && dropout_[l] > 0;
        if (tape.dropout_applied) {
            dense_dropout<T>({tape.output, tape.mask, tape.dropped, tape.ld, m, layers_[l].out, part.first_row,
                              dropout_[l], config_.seed, dropout_step_, static_cast<std::uint32_t>(l)},
                             team);
        }
        x = tape.next_input();
        ldx = tape.ld;
    }
}

// The weighted sum of the losses of the m rows gathered, of the batch from `first` on; in dz[0] its gradient by the
// last layer's z, times `scale`. A custom loss gives its value instead, as it is, and its gradient.
template <class T>
double Network<T>::loss_gradient(Workspace<T>& work, const Samples& samples, std::size_t first, std::size_t m,
                                 double scale, const Team& team) {
    const LayerTape<T>& tape = work.layers.back();
    const DenseLayer<T>& last = layers_.back();
    T* dz = work.dz[0];
    double value = 0;
    if (has_custom_loss()) {
        const std::size_t targets = samples.y.columns;
        value = custom_loss_({tape.output, m, last.out, tape.ld}, {work.target, m, targets, work.ld_target},
                             {dz, m, last.out, tape.ld});
    } else {
        value = batch_loss<T>(
            {config_.loss, config_.loss_parameter, tape.output, tape.ld, samples.labels ? nullptr : work.target,
             work.ld_target, samples.labels ? work.label : nullptr,
             samples.weight.empty() ? nullptr : workspace_.weight + first, dz, tape.ld, m, last.out,
             loss_factors().gradient * scale, clip()},
            work.partial_loss, team);
    }
    if (!takes_logits(config_.loss)) output_gradient(last, tape.saved(), dz, tape.ld, m, team);
    return value;
}

// These rows, of the batch from `first` on, through all layers; the rest is loss_gradient's.
template <class T>
double Network<T>::forward_pass(Workspace<T>& work, const Samples& samples, const RowSelection& rows, std::size_t first,
                                double scale, bool dropout, const Team& team, const BatchPart& part) {
    gather(work, samples, rows, team);
    forward_layers(work, rows.count, dropout, takes_logits(config_.loss), team, part);
    return loss_gradient(work, samples, first, rows.count, scale, team);
}

// λ of the L2 term for a batch of this weight.
template <class T>
double Network<T>::penalty_factor(double weight) const {
    if (!config_.scikit_learn) return config_.l2;
    return weight != 0 ? config_.l2 / weight : 0.0;
}

// (λ / 2)·Σ W² over the weights of all layers.
template <class T>
double Network<T>::penalty(double weight, const Team& team) const {
    if (config_.l2 == 0) return 0;
    double sum = 0;
    for (const DenseLayer<T>& l : layers_) sum += sum_squares(l.w, l.in * l.out, team);
    return 0.5 * penalty_factor(weight) * sum;
}

// From dz[0], that of the last layer; each layer's parameters change, where they do, after its input gradient has been
// taken. With `input`, *dx receives the gradient of the network's input, with the input's leading dimension.
template <class T>
void Network<T>::backward_layers(Workspace<T>& work, std::size_t m, const GradientFactors<T>& factors, bool input,
                                 T** dx, const Team& team, const BatchPart& part) {
    T* dz = work.dz[0];
    std::size_t lowest = 0;
    while (lowest < layers_.size() && !layers_[lowest].trainable) ++lowest;
    for (std::size_t l = layers_.size(); l-- > 0;) {
        const DenseLayer<T>& layer = layers_[l];
        const std::size_t lddz = work.layers[l].ld;
        const LayerTape<T>* below = l > 0 ? &work.layers[l - 1] : nullptr;
        const std::size_t ldx = l > 0 ? below->ld : work.ld_input;
        T* next = dz == work.dz[0] ? work.dz[1] : work.dz[0];
        const bool wanted = input || l > lowest;
        const BelowLayer<T> target{wanted ? next : nullptr, l > 0 ? layers_[l - 1].activation : Activation::identity,
                                   l > 0 ? below->saved() : nullptr,
                                   l > 0 && below->dropout_applied ? below->mask : nullptr};
        dense_backward(layer, l > 0 ? below->next_input() : work.input, ldx, dz, lddz, m, target, factors, team,
                       work.scratch());
        if (!layer.trainable && factors.gradient != nullptr) {
            std::fill_n(factors.gradient + layer.offset, layer.parameter_count(), T(0));
        }
        if (part.after_layer != nullptr) (*part.after_layer)(l);
        dz = next;
    }
    if (input) *dx = dz;
}

template <class T>
bool Network<T>::copy_parameters(T* out) const {
    const std::size_t n = parameters_.size();
    return kernels<T>().gather(parameters_.data(), 0, nullptr, 0, 1, n, out, n) == 1;
}

template <class T>
void Network<T>::standardize(std::shared_ptr<const Standardization> standardization) {
    const Busy busy(*occupancy_);
    forward_rows_ = 0;
    standardized_ = standardization != nullptr;
    std::atomic_store(&standardization_, std::move(standardization));
}

template <class T>
void Network<T>::forward(InputMatrix x, bool training, T* out) {
    const Busy busy(*occupancy_);
    x.standardization = standardization_.get();
    const Team team(wanted_threads(x.rows));
    reserve(x.rows, x.rows, outputs(), team);
    gather_rows(x, {nullptr, 0, x.rows}, workspace_.input, workspace_.ld_input, "X", team);
    forward_layers(workspace_, x.rows, training, false, team);
    if (training) dropout_step_ = dropout_step_ + 1;
    const LayerTape<T>& tape = workspace_.layers.back();
    for (std::size_t i = 0; i < x.rows; ++i) std::copy_n(tape.output + i * tape.ld, outputs(), out + i * outputs());
    forward_rows_ = x.rows;
}

template <class T>
void Network<T>::backward(const InputMatrix& dy, T* dx) {
    const Busy busy(*occupancy_);
    check(forward_rows_ > 0, "backward: expected a call of forward first (a training step discards what it keeps)");
    check(dy.rows == forward_rows_, "backward: expected a gradient of shape (", forward_rows_, ", ", outputs(),
          ") as the last forward's output, received ", dy.rows, " rows");
    const Team team(wanted_threads(dy.rows));
    workspace_.reserve_panels(layers_, team.size());
    const LayerTape<T>& tape = workspace_.layers.back();
    gather_rows(dy, {nullptr, 0, dy.rows}, workspace_.dz[0], tape.ld, "gradient", team);
    output_gradient(layers_.back(), tape.saved(), workspace_.dz[0], tape.ld, dy.rows, team);
    T* result = nullptr;
    backward_layers(workspace_, dy.rows, {T(1), T(0), T(0), gradient_.data()}, true, &result, team);
    for (std::size_t i = 0; i < dy.rows; ++i) {
        const T* row = result + i * workspace_.ld_input;
        std::copy_n(row, inputs(), dx + i * inputs());
        if (standardization_ == nullptr) continue;
        for (std::size_t j = 0; j < inputs(); ++j) {
            dx[i * inputs() + j] = static_cast<T>(static_cast<double>(row[j]) * standardization_->inverse_deviation[j]);
        }
    }
}

template class Network<float>;
template class Network<double>;

}  // namespace fusednet
