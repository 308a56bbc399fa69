// The gradient of a batch so large that what its rows leave for the way back would not stay near the core: block by
// block, forward and back (block_count). Its bits are the same however many threads share the work.
#include <algorithm>
#include <limits>

#include "core/network.h"
#include "kernels/element_types.h"

namespace fusednet {

namespace {

// The blocks whose gradients are stored before they are added: one for each thread, or more of a small network, for
// which threads would wait for each other all the time.
std::size_t slot_count(std::size_t parameter_bytes, const Team& team) {
    constexpr std::size_t small = std::size_t{1} << 16;
    return std::max<std::size_t>(1, small / parameter_bytes) * team.size();
}

// Whether the caller's matrix may be a view of this buffer.
template <class T>
bool may_view(const InputMatrix& m, const Buffer<T>& buffer) {
    const char *low = static_cast<const char*>(m.data), *high = low + element_bytes(m.dtype);
    const auto stretch = [&](std::ptrdiff_t stride, std::size_t count) {
        const std::ptrdiff_t far = stride * (static_cast<std::ptrdiff_t>(count) - 1);
        (far < 0 ? low : high) += far;
    };
    stretch(m.row_stride, m.rows);
    stretch(m.column_stride, m.columns);
    return buffer.overlaps(low, high);
}

}  // namespace

// Whether some rows of a batch may go forward and back by themselves: not where W would leave them no room, for all of
// them read it, nor with a loss that is defined for the batch.
template <class T>
bool Network<T>::rows_are_divisible() const {
    constexpr std::size_t near = std::size_t{1} << 20;  // bytes
    return !has_custom_loss() && weights_ * sizeof(T) <= near;
}

// Up to so many rows a batch is not large, whatever the team: the gradient of a large one is stored before the
// parameters take the step by it, which gives other bits than the update of W by its tiles.
template <class T>
std::size_t Network<T>::near_rows() const {
    constexpr std::size_t near = std::size_t{5} << 17;  // bytes
    if (!rows_are_divisible()) return std::numeric_limits<std::size_t>::max();
    std::size_t elements = leading_dimension<T>(inputs()), widest = 0;  // that a row leaves
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const std::size_t ld = leading_dimension<T>(layers_[l].out);
        elements += ld * (1 + (stores_derivative(layers_[l].activation) ? 1 : 0) + (dropout_[l] > 0 ? 2 : 0));
        widest = std::max(widest, ld);
    }
    return std::max(most_block_rows, near / ((elements + 2 * widest) * sizeof(T)));
}

// Whether the threads of a team have about as many blocks each. Else all of them go through the whole batch, layer by
// layer.
template <class T>
bool Network<T>::shares_blocks(std::size_t batch, const Team& team) const {
    return is_large(batch) && are_even(block_count(batch), team.size());
}

// A batch that is shared by its rows, in blocks or at once, makes threads wait for each other twice, whatever its
// layers: when they have computed some, and when the parameters have changed.
template <class T>
std::size_t Network<T>::step_threads(std::size_t batch, std::size_t steps) const {
    const std::size_t threads = threads_for(step_flops(batch) * static_cast<double>(steps), 2 * steps);
    if (is_large(batch)) return threads;
    return threads > 1 && shares_rows(batch, threads) ? threads : wanted_threads(batch, steps);
}

template <class T>
void Network<T>::reserve_step(const Samples& samples, std::size_t batch, const Team& team) {
    const bool by_blocks = shares_blocks(batch, team);
    const std::size_t sums = samples.weight.empty() ? block_count(batch) : batch;
    reserve(by_blocks ? near_rows_ : batch, sums, samples.y.columns, team);  // some smaller batch is no large one
    if (team.size() == 1) return;
    if (rows_are_divisible()) workspace_.reserve_dz(layers_, std::min(batch, near_rows_));
    if (!by_blocks) return;
    if (helpers_.size() < team.size() - 1) helpers_.resize(team.size() - 1);
    for (Workspace<T>& helper : helpers_) {
        helper.reserve(layers_, dropout_, std::max(samples.y.columns, outputs()), most_block_rows, 0);
        helper.reserve_panels(layers_, 1);
    }
    const std::size_t size = parameters_.size() * slot_count(parameters_.size() * sizeof(T), team);
    if (block_gradients_.size() < size) block_gradients_ = Buffer<T>(size);
}

// total += the gradients that so many slots hold, one after the other.
template <class T>
void Network<T>::add_gradients(T* total, const T* slots, std::size_t count, const Team& team) const {
    constexpr std::size_t chunk = 4096;
    const std::size_t size = parameters_.size();
    team.run((size + chunk - 1) / chunk, [&](std::size_t task, std::size_t) {
        const std::size_t first = task * chunk, n = std::min(chunk, size - first);
        T* const sum = total + first;
        for (std::size_t slot = 0; slot < count; ++slot) {
            const T* const part = slots + slot * size + first;
            for (std::size_t i = 0; i < n; ++i) sum[i] += part[i];
        }
    });
}

// Returns the weighted sum of the losses. The gradient is that of their mean, `scale` being one by the sum of weights.
template <class T>
double Network<T>::large_batch_gradient(const Samples& samples, const RowSelection& rows, double scale, double decay,
                                        bool dropout, const Team& team, const BatchPart& part, std::size_t following) {
    const std::size_t m = rows.count, blocks = block_count(m);
    const auto factors = [&](T* gradient, bool first, bool added) {
        return GradientFactors<T>{T(1), static_cast<T>(first ? decay * part.share : 0.0), T(0), gradient, nullptr,
                                  added};
    };
    if (!shares_blocks(m, team)) {
        read_ahead(workspace_, 0, samples, rows, m, m + following, m);
        const double sum =
            forward_pass(workspace_, samples, rows, 0, part.share * scale, dropout, team, part.first_row);
        backward_layers(workspace_, m, factors(gradient_.data(), true, false), false, team, part);
        return sum;
    }
    // Later blocks of data that are a view of the gradient would find in it what the first ones have left.
    const bool apart = may_view(samples.x, gradient_) || may_view(samples.y, gradient_);
    Buffer<T> own;
    if (apart) own = Buffer<T>(parameters_.size());
    T* const total = apart ? own.data() : gradient_.data();
    const bool announced = team.size() > 1 || apart;  // at the end, all layers
    const Team alone(1);
    const auto compute = [&](std::size_t b, std::size_t worker, T* gradient, bool added) {
        Workspace<T>& work = worker == 0 ? workspace_ : helpers_[worker - 1];
        const std::size_t first = block_begin(m, blocks, b), count = block_begin(m, blocks, b + 1) - first;
        // The next block of this thread, of this batch or of the one that follows.
        const std::size_t next = b + team.size(), end = next < blocks ? m : m + following;
        const std::size_t begin = next < blocks ? block_begin(m, blocks, next) : m + (next - blocks) * count;
        read_ahead(work, 0, samples, rows, begin, end, count);
        workspace_.batch_sum[b] = forward_pass(work, samples, rows.from(first, count), first, part.share * scale,
                                               dropout, alone, part.first_row + first);
        const bool last = !announced && b + 1 == blocks;
        backward_layers(work, count, factors(gradient, b == 0, added), false, alone,
                        {part.share, 0, last ? part.after_layer : nullptr});
    };
    if (team.size() == 1) {
        for (std::size_t b = 0; b < blocks; ++b) compute(b, 0, total, b > 0);
    } else {
        const std::size_t size = parameters_.size(), slots = slot_count(size * sizeof(T), team);
        T* const stored = block_gradients_.data();
        for (std::size_t b = 0; b < blocks; b += slots) {
            const std::size_t count = std::min(slots, blocks - b), first = b == 0 ? 1 : 0;  // the first has `total`
            team.run(count, [&](std::size_t task, std::size_t worker) {
                compute(b + task, worker, b + task == 0 ? total : stored + task * size, false);
            });
            add_gradients(total, stored + first * size, count - first, team);
        }
    }
    if (apart) std::copy_n(total, parameters_.size(), gradient_.data());
    if (announced && part.after_layer != nullptr) {
        for (std::size_t l = layers_.size(); l-- > 0;) (*part.after_layer)(l);
    }
    double sum = 0;
    for (std::size_t b = 0; b < blocks; ++b) sum += workspace_.batch_sum[b];
    return sum;
}

#define FUSEDNET_INSTANTIATE(T)                                                                                 \
    template bool Network<T>::rows_are_divisible() const;                                                       \
    template std::size_t Network<T>::near_rows() const;                                                         \
    template bool Network<T>::shares_blocks(std::size_t, const Team&) const;                                    \
    template std::size_t Network<T>::step_threads(std::size_t, std::size_t) const;                              \
    template void Network<T>::reserve_step(const Samples&, std::size_t, const Team&);                           \
    template double Network<T>::large_batch_gradient(const Samples&, const RowSelection&, double, double, bool, \
                                                     const Team&, const BatchPart&, std::size_t);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
