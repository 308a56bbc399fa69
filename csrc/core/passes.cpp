// What a step is made of: the rows of a batch, all layers forward, the loss, all layers back.
#include <algorithm>

#include "core/check.h"
#include "core/network.h"
#include "core/sum_squares.h"

namespace fusednet {

// So many rows from `begin` on, but none from `end` on, to be read ahead by a worker in a step of as many.
template <class T>
void Network<T>::read_ahead(Workspace<T>& work, std::size_t worker, const Samples& samples, const RowSelection& rows,
                            std::size_t begin, std::size_t end, std::size_t count) const {
    if (begin >= end || (is_near(samples.x) && is_near(samples.y))) return work.read_ahead(worker, {});
    const RowSelection later = rows.from(begin, std::min(count, end - begin));
    if (come_by_themselves(samples.x, samples.y, later)) return work.read_ahead(worker, {});
    work.read_ahead(worker, plan_read_ahead(samples.x, samples.y, later, step_flops(count)));
}

// Whether these are among the parameters or their gradient, which a step writes.
template <class T>
bool Network<T>::is_own(const MatrixView<const T>& m) const {
    const T* const end = m.data + m.rows * m.ld;
    return parameters_.overlaps(m.data, end) || gradient_.overlaps(m.data, end);
}

// A custom loss is the caller's code, which may write into the caller's arrays before the step is through.
template <class T>
void Network<T>::place_anew(Workspace<T>& work, const Samples& samples, const RowSelection& rows) const {
    work.read_copies();
    if (has_custom_loss()) return;
    const auto x = place_rows(samples.x, rows, work.x, work.ldx), y = place_rows(samples.y, rows, work.y, work.ldy);
    if (is_own(x) || is_own(y)) return;
    work.x = x.data;
    work.ldx = x.ld;
    work.y = y.data;
    work.ldy = y.ld;
}

// From `at` on of the rows that have been placed. `look`: at the inputs, if they are not copied.
template <class T>
void Network<T>::gather(Workspace<T>& work, const Samples& samples, const RowSelection& rows, std::size_t at,
                        const Team& team, bool look) {
    const std::size_t m = rows.count;
    if (look) {
        take_rows({work.x + at * work.ldx, m, inputs(), work.ldx}, samples.x, rows, work.input + at * work.ld_input,
                  work.ld_input, "X", team);
    }
    if (samples.labels) {
        gather_labels(samples.y, rows, work.label + at, outputs());
    } else {
        take_rows({work.y + at * work.ldy, m, samples.y.columns, work.ldy}, samples.y, rows,
                  work.target + at * work.ld_target, work.ld_target, "y", team, target_range(config_.loss));
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

// From `at` on of the workspace, m rows, whose first has that number in the batch for dropout. The first layer may be
// done already, but for its dropout.
template <class T>
void Network<T>::forward_layers(const Workspace<T>& work, std::size_t at, std::size_t m, bool logits, const Team& team,
                                const Scratch<T>& scratch, std::size_t first_row, bool first_is_done) {
    const T* x = work.x + at * work.ldx;
    std::size_t ldx = work.ldx;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const LayerTape<T>& tape = work.layers[l];
        const std::size_t offset = at * tape.ld;  // LayerTape::from would take the smallest networks too long
        T *output = tape.output + offset, *derivative = tape.derivative != nullptr ? tape.derivative + offset : nullptr;
        if (l > 0 || !first_is_done) {
            dense_forward(layers_[l], x, ldx, output, derivative, tape.ld, m, logits && l + 1 == layers_.size(), team,
                          scratch);
        }
        if (tape.dropout_applied) {
            dense_dropout<T>({output, tape.mask + offset, tape.dropped + offset, tape.ld, m, layers_[l].out, first_row,
                              dropout_[l], config_.seed, dropout_step_, static_cast<std::uint32_t>(l)},
                             team);
        }
        x = tape.next_input() + offset;
        ldx = tape.ld;
    }
}

// Whether one thread, which reads long rows of X where they lie, finds out by the first layer's few sums whether they
// are finite. To look at all of them takes 784-10 a tenth of a step, 784-32-10 5 %. (Activations take a pass of their
// own then: 784-256-128-10 gains nothing. And of short rows that look fetches them in time: 100-16-1 would lose 2 %.)
template <class T>
bool Network<T>::looks_at_sums(const Workspace<T>& work, const Team& team) const {
    constexpr std::size_t long_row = 1024;
    const DenseLayer<T>& layer = layers_.front();
    return work.x != work.input && layer.in * sizeof(T) >= long_row && 4 * layer.out < layer.in && team.size() == 1 &&
           first_activation() != Activation::softmax;
}

// What the first layer applies to its sums in a step: nothing, where the loss takes them as logits.
template <class T>
Activation Network<T>::first_activation() const {
    return layers_.size() == 1 && takes_logits(config_.loss) ? Activation::identity : layers_.front().activation;
}

// The first layer of inputs that nobody has looked at.
template <class T>
void Network<T>::forward_first(Workspace<T>& work, const Samples& samples, const RowSelection& rows) {
    const Team alone(1);
    const LayerTape<T>& tape = work.layers.front();
    const MatrixView<const T> x{work.x, rows.count, inputs(), work.ldx};
    dense_forward<T>(layers_.front(), x.data, x.ld, tape.output, nullptr, tape.ld, rows.count, true, alone,
                     work.scratch());
    if (!are_sums_finite(tape.output, tape.ld, rows.count))
        check_rows<T>(x, samples.x, rows, work.input, work.ld_input, "X", alone, nullptr);
    const Activation f = first_activation();
    if (f == Activation::identity) return;
    kernels<T>().activation(f, tape.output, tape.output, tape.derivative, rows.count * tape.ld);
}

// Whether the next forward pass drops anything.
template <class T>
void Network<T>::set_dropout(Workspace<T>& work, bool dropout) {
    for (std::size_t l = 0; l < layers_.size(); ++l) work.layers[l].dropout_applied = dropout && dropout_[l] > 0;
}

// What the kernels need for the loss of m rows, of the batch from `first` on, and for its gradient by the last layer's
// z, times `scale`.
template <class T>
LossArguments<T> Network<T>::loss_arguments(const Workspace<T>& work, const Samples& samples, std::size_t first,
                                            std::size_t m, double scale) {
    const LayerTape<T>& tape = work.layers.back();
    return {config_.loss,
            config_.loss_parameter,
            tape.output,
            tape.ld,
            samples.labels ? nullptr : work.y,
            work.ldy,
            samples.labels ? work.label : nullptr,
            samples.weight.empty() ? nullptr : workspace_.weight + first,
            tape.dz,
            tape.ld,
            m,
            outputs(),
            loss_factors().gradient * scale,
            clip()};
}

// The weighted sum of the losses and their gradient. A custom loss gives its value instead, as it is.
template <class T>
double Network<T>::loss_gradient(Workspace<T>& work, const Samples& samples, std::size_t first, std::size_t m,
                                 double scale, const Team& team) {
    const LayerTape<T>& tape = work.layers.back();
    double value = 0;
    if (has_custom_loss()) {
        value = custom_loss_({tape.output, m, outputs(), tape.ld}, {work.y, m, samples.y.columns, work.ldy},
                             {tape.dz, m, outputs(), tape.ld});
    } else {
        const LossArguments<T> batch = loss_arguments(work, samples, first, m, scale);
        const LossChunks chunks(m);
        if (chunks.count() == 1) {
            value = kernels<T>().loss(batch);
        } else {
            team.run(chunks.count(), [&](std::size_t chunk, std::size_t) {
                chunk_losses(batch, chunks, chunk, chunk + 1, work.partial_loss);
            });
            value = chunks.sum(work.partial_loss);
        }
    }
    if (!takes_logits(config_.loss)) output_gradient(layers_.back(), tape.saved(), tape.dz, tape.ld, m, team);
    return value;
}

// These rows, of the batch from `first` on, through all layers; the rest is loss_gradient's. For dropout the first has
// another number where other parts of the batch are elsewhere.
template <class T>
double Network<T>::forward_pass(Workspace<T>& work, const Samples& samples, const RowSelection& rows, std::size_t first,
                                double scale, bool dropout, const Team& team, std::size_t first_row) {
    place(work, samples, rows);
    const bool by_sums = looks_at_sums(work, team);
    if (by_sums) forward_first(work, samples, rows);
    gather(work, samples, rows, 0, team, !by_sums);
    set_dropout(work, dropout);
    forward_layers(work, 0, rows.count, takes_logits(config_.loss), team, work.scratch(), first_row, by_sums);
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

// The lowest layer that is trained, if there is one: nobody needs the gradient by its input.
template <class T>
std::size_t Network<T>::lowest_trainable() const {
    const auto trainable = [](const DenseLayer<T>& l) -> bool { return l.trainable; };
    return static_cast<std::size_t>(std::find_if(layers_.begin(), layers_.end(), trainable) - layers_.begin());
}

// Where the gradient by a layer's input goes, of rows from `at` on.
template <class T>
BelowLayer<T> Network<T>::below(const Workspace<T>& work, std::size_t layer, std::size_t at) const {
    if (layer == 0) return {work.dx + at * work.ld_input, Activation::identity, nullptr, nullptr};
    const LayerTape<T> tape = work.layers[layer - 1].from(at);
    return {tape.dz, layers_[layer - 1].activation, tape.saved(), tape.dropout_applied ? tape.mask : nullptr};
}

// A layer's input, of all rows.
template <class T>
MatrixView<const T> Network<T>::layer_input(const Workspace<T>& work, std::size_t layer, std::size_t m) const {
    if (layer == 0) return {work.x, m, inputs(), work.ldx};
    const LayerTape<T>& tape = work.layers[layer - 1];
    return {tape.next_input(), m, layers_[layer].in, tape.ld};
}

// From the last layer's dz on; each layer's parameters change, where they do, after its input gradient has been taken.
// With `input`, that of the network's input, too.
template <class T>
void Network<T>::backward_layers(Workspace<T>& work, std::size_t m, const GradientFactors<T>& factors, bool input,
                                 const Team& team, const BatchPart& part) {
    const std::size_t lowest = lowest_trainable();
    for (std::size_t l = layers_.size(); l-- > 0;) {
        const DenseLayer<T>& layer = layers_[l];
        const LayerTape<T>& tape = work.layers[l];
        const MatrixView<const T> x = layer_input(work, l, m);
        BelowLayer<T> target = below(work, l, 0);
        if (!input && l <= lowest) target.dx = nullptr;
        dense_backward(layer, x.data, x.ld, tape.dz, tape.ld, m, target, factors, team, work.scratch());
        clear_untrained(layer, factors);
        if (part.after_layer != nullptr) (*part.after_layer)(l);
    }
}

#define FUSEDNET_INSTANTIATE(T)                                                                                        \
    template void Network<T>::read_ahead(Workspace<T>&, std::size_t, const Samples&, const RowSelection&, std::size_t, \
                                         std::size_t, std::size_t) const;                                              \
    template void Network<T>::place_anew(Workspace<T>&, const Samples&, const RowSelection&) const;                    \
    template void Network<T>::gather(Workspace<T>&, const Samples&, const RowSelection&, std::size_t, const Team&,     \
                                     bool);                                                                            \
    template WeightSum Network<T>::batch_weights(const Samples&, const RowSelection&);                                 \
    template void Network<T>::forward_layers(const Workspace<T>&, std::size_t, std::size_t, bool, const Team&,         \
                                             const Scratch<T>&, std::size_t, bool);                                    \
    template void Network<T>::set_dropout(Workspace<T>&, bool);                                                        \
    template LossArguments<T> Network<T>::loss_arguments(const Workspace<T>&, const Samples&, std::size_t,             \
                                                         std::size_t, double);                                         \
    template double Network<T>::forward_pass(Workspace<T>&, const Samples&, const RowSelection&, std::size_t, double,  \
                                             bool, const Team&, std::size_t);                                          \
    template double Network<T>::penalty_factor(double) const;                                                          \
    template double Network<T>::penalty(double, const Team&) const;                                                    \
    template std::size_t Network<T>::lowest_trainable() const;                                                         \
    template BelowLayer<T> Network<T>::below(const Workspace<T>&, std::size_t, std::size_t) const;                     \
    template MatrixView<const T> Network<T>::layer_input(const Workspace<T>&, std::size_t, std::size_t) const;         \
    template void Network<T>::backward_layers(Workspace<T>&, std::size_t, const GradientFactors<T>&, bool,             \
                                              const Team&, const BatchPart&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
