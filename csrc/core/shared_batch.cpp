// The step of a batch by a team where each thread takes some of the rows, forward and back to the gradient by every z,
// and then, when all have, some rows of each W: threads wait for each other twice, whatever the number of layers. Or
// three or four times, where each keeps some columns of the first W for itself.
#include <algorithm>

#include "core/blocks.h"
#include "core/network.h"

namespace fusednet {

// Whether the threads of a team have about as many rows each, cut where the loss is (LossChunks), and compute enough
// with the hidden layers' rows, which they read of each other: of wide layers between narrow ones each would do better
// with some columns, as they have layer by layer.
template <class T>
bool Network<T>::shares_rows(std::size_t batch, std::size_t threads) const {
    constexpr std::size_t enough = 32;  // weights
    std::size_t hidden = 0;
    for (const DenseLayer<T>& l : layers_) hidden += l.out;
    hidden -= outputs();
    if (is_large(batch) || !rows_are_divisible() || weights_ < enough * hidden) return false;
    return are_even(LossChunks(batch).count(), threads);
}

// Whether each thread computes some of the first layer's outputs, of all rows, and updates the columns of W that they
// come from: no core reads then what another has written of them. (Of other layers each has to read all of W, since it
// needs the gradient by their inputs.) For updates that need nothing but W: of moments as well, columns of rows that
// are a power of two apart would use half of a core's cache.
template <class T>
bool Network<T>::keeps_columns(std::size_t threads) const {
    const DenseLayer<T>& first = layers_.front();
    const std::size_t most = part_columns(first, threads);
    const bool even = (threads - 1) * most < first.out && 16 * threads * most <= 17 * first.out;
    return layers_.size() > 1 && first.trainable && even;
}

// Returns the weighted sum of the losses. `columns`: see above.
template <class T>
double Network<T>::pass_by_rows(const Samples& samples, const RowSelection& rows, double scale, bool dropout,
                                const Team& team, const BatchPart& part, std::size_t following, bool columns) {
    workspace_.keep_dz(true);  // until they have been used
    const Team alone(1);
    const bool logits = takes_logits(config_.loss);
    place(workspace_, samples, rows);
    const LossArguments<T> batch = loss_arguments(workspace_, samples, 0, rows.count, scale);
    const LossChunks chunks(rows.count);
    const std::size_t parts = std::min(team.size(), chunks.count()), lowest = lowest_trainable();
    set_dropout(workspace_, dropout);
    const auto first_chunk = [&](std::size_t task) { return chunks.count() * task / parts; };
    const auto first_row = [&](std::size_t task) { return chunks.begin(first_chunk(task)); };
    const auto take_inputs = [&](std::size_t task, std::size_t worker) {
        const std::size_t first = first_row(task), m = first_row(task + 1) - first;
        read_ahead(workspace_, worker, samples, rows, rows.count + first, rows.count + following, m);
        gather(workspace_, samples, rows.from(first, m), first, alone);
    };
    if (columns) {
        const bool copied = workspace_.x == workspace_.input;
        if (copied) team.run(parts, take_inputs);
        const LayerTape<T>& tape = workspace_.layers.front();
        team.run(team.size(), [&](std::size_t task, std::size_t worker) {
            if (!copied && task < parts) take_inputs(task, worker);
            forward_columns(layers_.front(), workspace_.x, workspace_.ldx, tape.output, tape.derivative, tape.ld,
                            rows.count, task, team.size(), workspace_.scratch(worker));
        });
    }
    team.run(parts, [&](std::size_t task, std::size_t worker) {
        if (!columns) take_inputs(task, worker);
        const std::size_t first = first_row(task), m = first_row(task + 1) - first;
        Scratch<T> scratch = workspace_.scratch(worker);
        scratch.shared = true;
        scratch.batch = rows.count;
        forward_layers(workspace_, first, m, logits, alone, scratch, part.first_row + first, columns);
        chunk_losses(batch, chunks, first_chunk(task), first_chunk(task + 1), workspace_.partial_loss);
        const LayerTape<T> output = workspace_.layers.back().from(first);
        if (!logits) output_gradient(layers_.back(), output.saved(), output.dz, output.ld, m, alone);
        for (std::size_t l = layers_.size(); l-- > lowest + 1;) {
            const LayerTape<T> tape = workspace_.layers[l].from(first);
            input_gradient(layers_[l], tape.dz, tape.ld, m, below(workspace_, l, first), workspace_.layers[l - 1].ld,
                           scratch);
        }
    });
    return chunks.sum(workspace_.partial_loss);
}

// The gradient by the parameters, from the dz of all rows, and what becomes of it: of each layer a part for each
// thread. `columns`: of the first layer some columns.
template <class T>
void Network<T>::backward_by_parts(std::size_t m, const GradientFactors<T>& factors, const Team& team, bool columns) {
    const std::size_t parts = team.size(), layers = layers_.size();
    team.run(parts * layers, [&](std::size_t task, std::size_t worker) {
        const std::size_t l = layers - 1 - task % layers;
        if (!layers_[l].trainable) return;
        const MatrixView<const T> x = layer_input(workspace_, l, m);
        const LayerTape<T>& tape = workspace_.layers[l];
        parameter_gradient(layers_[l], x.data, x.ld, tape.dz, tape.ld, m, factors, task / layers, parts,
                           columns && l == 0, workspace_.scratch(worker));
    });
    for (const DenseLayer<T>& layer : layers_) clear_untrained(layer, factors);
    workspace_.keep_dz(false);
}

#define FUSEDNET_INSTANTIATE(T)                                                                              \
    template bool Network<T>::shares_rows(std::size_t, std::size_t) const;                                   \
    template bool Network<T>::keeps_columns(std::size_t) const;                                              \
    template double Network<T>::pass_by_rows(const Samples&, const RowSelection&, double, bool, const Team&, \
                                             const BatchPart&, std::size_t, bool);                           \
    template void Network<T>::backward_by_parts(std::size_t, const GradientFactors<T>&, const Team&, bool);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
