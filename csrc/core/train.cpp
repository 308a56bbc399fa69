// A network's training: steps, epochs, and what its optimizers remember.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "core/check.h"
#include "core/network.h"
#include "core/sum_squares.h"

namespace fusednet {

// Whether each layer takes the optimizer's step with its gradient, rows at a time, rather than all with apply():
// where parameters, gradient and two moments, as Adam has them, are too large to stay near the core from one to the
// next; or where a team shares the step by rows, which would wait for all once more.
template <class T>
bool Network<T>::steps_by_rows(const Optimizer& optimizer, bool shared) const {
    constexpr std::size_t near = std::size_t{7} << 19;  // bytes
    return !optimizer.clip_norm && (shared || 4 * parameters_.size() * sizeof(T) > near);
}

template <class T>
typename Network<T>::StepResult Network<T>::step(const Samples& samples, const RowSelection& rows,
                                                 const Optimizer* optimizer, bool dropout, const Team& team,
                                                 const BatchPart& part, std::size_t following) {
    const std::size_t m = rows.count;
    const WeightSum weights = batch_weights(samples, rows);
    const double weight = weights.total(), scale = weights.sum != 0 ? 1.0 / weights.sum : 0.0;
    const double decay = penalty_factor(weight);
    const bool large = is_large(m);
    // (Of layers one by one each is announced as soon as it is through.)
    const bool shared = team.size() > 1 && part.after_layer == nullptr && shares_rows(m, team.size());
    const bool fused = optimizer != nullptr && optimizer->fusible();
    const bool by_rows = optimizer != nullptr && !fused && steps_by_rows(*optimizer, shared);
    const bool columns = shared && fused && keeps_columns(team.size());
    double sum = 0;
    if (large) {
        sum = large_batch_gradient(samples, rows, scale, decay, dropout, team, part, following);
    } else if (shared) {
        sum = pass_by_rows(samples, rows, scale, dropout, team, part, following, columns);
    } else {
        read_ahead(workspace_, 0, samples, rows, m, m + following, m);
        sum = forward_pass(workspace_, samples, rows, 0, scale, dropout, team, part.first_row);
    }
    if (dropout) dropout_step_ = dropout_step_ + 1;
    const double value = (has_custom_loss() ? sum : loss_factors().value * scale * sum) + penalty(weight, team);
    check<DivergenceError>(config_.scikit_learn || std::isfinite(value), "the loss became ",
                           std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value);  // of either sign
    if (large) {
        if (optimizer != nullptr) apply(*optimizer, team);
        return {value, weight};
    }
    UpdateArguments arguments;
    OptimizerStep<T> optimizer_step;
    if (by_rows) {
        OptimizerState<T>& s = state(*optimizer);
        arguments = update_arguments(*optimizer, ++s.step);
        optimizer_step = {&arguments, parameters_.data(), s.first.data(), s.second.data()};
    }
    const GradientFactors<T> factors{static_cast<T>(fused ? -optimizer->learning_rate : part.share),
                                     static_cast<T>(fused ? decay + optimizer->weight_decay : decay),
                                     static_cast<T>(fused ? optimizer->weight_decay : 0.0),
                                     fused ? nullptr : gradient_.data(), by_rows ? &optimizer_step : nullptr};
    if (shared) {
        backward_by_parts(m, factors, team, columns);
    } else {
        backward_layers(workspace_, m, factors, false, team, part);
    }
    if (optimizer != nullptr && !fused && !by_rows) apply(*optimizer, team);
    return {value, weight};
}

template <class T>
double Network<T>::gradient_norm(const Team& team) const {
    const T *first = gradient_.data(), *last = first + gradient_.size();
    const double squares = sum_squares(first, gradient_.size(), team);
    if (std::isfinite(squares)) return std::sqrt(squares);
    double largest = 0, sum = 0;  // squares that overflow
    for (const T* g = first; g != last; ++g) largest = std::max(largest, std::abs(static_cast<double>(*g)));
    for (const T* g = first; g != last; ++g) sum += std::pow(static_cast<double>(*g) / largest, 2);
    return largest * std::sqrt(sum);
}

// One pass of the optimizer over the trainable layers.
template <class T>
void Network<T>::apply(const Optimizer& optimizer, const Team& team) {
    const KernelTable<T>& k = kernels<T>();
    std::optional<T> factor;
    if (optimizer.clip_norm) {
        const double norm = gradient_norm(team);
        if (norm > *optimizer.clip_norm) factor = static_cast<T>(*optimizer.clip_norm / norm);
    }
    OptimizerState<T>& s = state(optimizer);
    const UpdateArguments arguments = update_arguments(optimizer, ++s.step);
    constexpr std::size_t chunk = 16384;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        if (!layers_[l].trainable) continue;
        const std::size_t begin = offset(l), size = layers_[l].parameter_count();
        team.run((size + chunk - 1) / chunk, [&](std::size_t task, std::size_t) {
            const std::size_t i = begin + task * chunk, n = std::min(chunk, size - task * chunk);
            if (factor) k.scale(gradient_.data() + i, *factor, n);
            k.update(arguments, parameters_.data() + i, gradient_.data() + i,
                     s.first.size() > 0 ? s.first.data() + i : nullptr,
                     s.second.size() > 0 ? s.second.data() + i : nullptr, n);
        });
    }
}

// For a step by itself: among the batches of an epoch there may be one without weight.
template <class T>
void Network<T>::check_weights(const Samples& samples) const {
    check(samples.weight.empty() || config_.scikit_learn || any_weight(samples.weight),
          "sample_weight: expected weights that are not all zero");
}

template <class T>
double Network<T>::loss_and_gradient(const Samples& samples) {
    const Busy busy(*occupancy_);
    const Team team(step_threads(samples.x.rows));
    reserve_step(samples, samples.x.rows, team);
    check_weights(samples);
    return step(samples, {nullptr, 0, samples.x.rows}, nullptr, false, team).loss;
}

template <class T>
double Network<T>::part_gradient(const Samples& samples, const RowSelection& rows, const BatchPart& part) {
    const Busy busy(*occupancy_);
    const Team team(step_threads(rows.count));
    reserve_step(samples, rows.count, team);
    return step(samples, rows, nullptr, true, team, part).loss;
}

template <class T>
void Network<T>::update(const Optimizer& optimizer) {
    const Busy busy(*occupancy_);
    constexpr double cost = 20;  // of a parameter, in operations of the products: Adam's, measured
    apply(optimizer, Team(threads_for(cost * static_cast<double>(parameters_.size()))));
}

// Whether the team is quicker at steps of so many rows than one thread, where that has to be tried: of a step four
// times as long as pays for a team of its own nobody doubts it, however far the cores are apart; nor of one shared by
// rows, for which threads seldom meet, that takes some 0.2 ms.
template <class T>
TeamTrial* Network<T>::trial(std::size_t rows, const Team& team) {
    constexpr double enough = 3e7;  // operations
    if (team.size() == 1) return nullptr;
    const bool divided = shares_blocks(rows, team) || shares_rows(rows, team.size());
    const bool sure = divided && step_flops(rows) >= enough;
    if (sure || step_threads(rows / 4) > 1) return nullptr;
    constexpr std::size_t most = 64;  // numbers of rows, lest always new ones fill the memory
    if (trials_.size() == most && trials_.count(rows) == 0) trials_.clear();
    TeamTrial& trial = trials_[rows];
    trial.begin(team.size());
    return &trial;
}

// A step with the team, or alone, as the trial says. Rows fewer than the batch's can't be compared.
template <class T>
typename Network<T>::StepResult Network<T>::tried_step(TeamTrial* trial, const Samples& samples,
                                                       const RowSelection& rows, const Optimizer& optimizer,
                                                       const Team& team, std::size_t batch, std::size_t following) {
    if (trial == nullptr) return step(samples, rows, &optimizer, true, team, {}, following);
    using Clock = std::chrono::steady_clock;
    const Team alone(1);
    trial->begin_step(Clock::now());
    const StepResult result = step(samples, rows, &optimizer, true, trial->use_team() ? team : alone, {}, following);
    if (rows.count == batch) trial->end_step(Clock::now());
    return result;
}

template <class T>
double Network<T>::train_step(const Samples& samples, const Optimizer& optimizer) {
    const Busy busy(*occupancy_);
    constexpr std::size_t many = 1000;  // steps: one seldom comes alone
    const std::size_t m = samples.x.rows;
    const Team team(step_threads(m, many));
    reserve_step(samples, m, team);
    check_weights(samples);
    return tried_step(trial(m, team), samples, {nullptr, 0, m}, optimizer, team, m, 0).loss;
}

template <class T>
double Network<T>::train_epoch(const Samples& samples, const Optimizer& optimizer, std::size_t batch_size,
                               const std::int64_t* order, std::size_t count, const Heartbeat::Callback& heartbeat) {
    const Busy busy(*occupancy_);
    const std::size_t batch = std::min(batch_size, count);
    const Team team(step_threads(batch, batch > 0 ? count / batch : 0));
    TeamTrial* const tried = trial(batch, team);
    reserve_step(samples, batch, team);
    if (batch > 0) reserve_step(samples, count % batch, team);  // the last
    Heartbeat beat(heartbeat);
    double total = 0, total_weight = 0;
    for (std::size_t first = 0; first < count; first += batch) {
        const RowSelection rows{order != nullptr ? order + first : nullptr, first, std::min(batch, count - first)};
        const std::size_t following = std::min(batch, count - first - rows.count);
        const StepResult r = tried_step(tried, samples, rows, optimizer, team, batch, following);
        const double share = config_.scikit_learn ? static_cast<double>(rows.count) : r.weight;
        total += r.loss * share;
        total_weight += share;
        beat.step(first + rows.count);
    }
    return total_weight > 0 ? total / total_weight : 0.0;
}

// Whether a state is that of an optimizer. (lock() would count a reference up and down, atomically, in each step.)
template <class T>
bool belongs(const OptimizerState<T>& state, const Optimizer& optimizer) {
    return !state.optimizer.owner_before(optimizer.identity) && !optimizer.identity.owner_before(state.optimizer);
}

template <class T>
OptimizerState<T>* Network<T>::find_state(const Optimizer& optimizer) {
    const auto found =
        std::find_if(states_.begin(), states_.end(), [&](const auto& s) { return belongs(s, optimizer); });
    return found != states_.end() ? &*found : nullptr;
}

template <class T>
OptimizerState<T>& Network<T>::state(const Optimizer& optimizer) {
    if (OptimizerState<T>* known = find_state(optimizer)) return *known;
    states_.erase(std::remove_if(states_.begin(), states_.end(), [](const auto& s) { return s.optimizer.expired(); }),
                  states_.end());
    OptimizerState<T> fresh;
    fresh.optimizer = optimizer.identity;
    if (keeps_first(optimizer.rule)) fresh.first = Buffer<T>(parameters_.size(), 2);
    if (keeps_second(optimizer.rule)) fresh.second = Buffer<T>(parameters_.size(), 3);
    states_.push_back(std::move(fresh));
    return states_.back();
}

template <class T>
void Network<T>::drop_state(const Optimizer& optimizer) {
    states_.erase(std::remove_if(states_.begin(), states_.end(), [&](const auto& s) { return belongs(s, optimizer); }),
                  states_.end());
}

#define FUSEDNET_INSTANTIATE(T)                                                                                 \
    template double Network<T>::loss_and_gradient(const Samples&);                                              \
    template double Network<T>::train_step(const Samples&, const Optimizer&);                                   \
    template double Network<T>::part_gradient(const Samples&, const RowSelection&, const BatchPart&);           \
    template void Network<T>::update(const Optimizer&);                                                         \
    template double Network<T>::train_epoch(const Samples&, const Optimizer&, std::size_t, const std::int64_t*, \
                                            std::size_t, const Heartbeat::Callback&);                           \
    template OptimizerState<T>* Network<T>::find_state(const Optimizer&);                                       \
    template OptimizerState<T>& Network<T>::state(const Optimizer&);                                            \
    template void Network<T>::drop_state(const Optimizer&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
