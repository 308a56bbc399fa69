#include "core/network.h"

#include <algorithm>

#include "core/check.h"
#include "kernels/cpu_features.h"
#include "kernels/element_types.h"

namespace fusednet {

namespace {

// Of parameters of so many bytes, beside which the cache has to hold a batch's activations.
Place place_of(std::size_t bytes) {
    const std::size_t cache = cpu_features().second_level_cache;
    if (cache == 0) return Place::unknown;
    return bytes <= cache / 8 * 5 ? Place::near : Place::far;
}

}  // namespace

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
    for (DenseLayer<T>& l : layers_) l.place = place_of(offset * sizeof(T));
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
    workspace_.keep_dz(false);
    workspace_.reserve_panels(layers_, team.size());
    workspace_.read_nothing_ahead();
}

template <class T>
bool Network<T>::copy_parameters(T* out) const {
    const std::size_t n = parameters_.size();
    return kernels<T>().gather({parameters_.data(), dtype_of<T>, 0, sizeof(T), nullptr, 0, 1, n}, out, n) == 1;
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
    workspace_.read_copies();  // the caller's may change before backward
    set_dropout(workspace_, training);
    forward_layers(workspace_, 0, x.rows, false, team, workspace_.scratch(), 0);
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
    gather_rows(dy, {nullptr, 0, dy.rows}, tape.dz, tape.ld, "gradient", team);
    output_gradient(layers_.back(), tape.saved(), tape.dz, tape.ld, dy.rows, team);
    backward_layers(workspace_, dy.rows, {T(1), T(0), T(0), gradient_.data()}, true, team);
    for (std::size_t i = 0; i < dy.rows; ++i) {
        const T* row = workspace_.dx + i * workspace_.ld_input;
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
