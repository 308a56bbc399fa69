// Prediction and the loss without a gradient: row tiles go through all layers while they sit in the cache, in scratch
// of the running thread's own. Nothing of the network is written.
#include <algorithm>

#include "core/activation.h"
#include "core/check.h"
#include "core/network.h"
#include "kernels/element_types.h"

namespace fusednet {

namespace {

// The longest row of a network's activations, inputs included.
template <class T>
std::size_t longest_row(const std::vector<DenseLayer<T>>& layers) {
    std::size_t longest = leading_dimension<T>(layers.front().in);
    for (const DenseLayer<T>& l : layers) longest = std::max(longest, leading_dimension<T>(l.out));
    return longest;
}

// Rows of a tile, or more, of networks so narrow that they stay in the near caches: small tiles of those wait for what
// begins and ends one.
constexpr std::size_t carried_rows = 128, most_carried_rows = 1024;

template <class T>
std::size_t rows_to_carry(const std::vector<DenseLayer<T>>& layers, std::size_t rows) {
    constexpr std::size_t near = std::size_t{1} << 16;  // bytes of activations
    if (rows <= carried_rows) return carried_rows;
    return std::clamp(near / (longest_row(layers) * sizeof(T)), carried_rows, most_carried_rows);
}

// Rows for each thread from which it takes some through all layers by itself: it reads all of W for them.
constexpr std::size_t least_rows = 32;

// Two activations of a tile and a panel for each thread of a team, grown as needed and kept by the thread.
template <class T>
class Arena {
public:
    static Arena& of_thread(const std::vector<DenseLayer<T>>& layers, std::size_t rows, std::size_t workers) {
        thread_local Arena arena;
        std::size_t deepest = 0;
        for (const DenseLayer<T>& l : layers) deepest = std::max(deepest, l.in);
        constexpr std::size_t line = alignment / sizeof(T);
        const std::size_t side = (rows * longest_row(layers) + 2 * line - 1) / line * line;
        arena.panel_size = (kernels<T>().panel_size(deepest) + line) / line * line;
        const std::size_t wanted = 2 * side + workers * arena.panel_size;
        if (arena.storage_.size() < wanted) arena.storage_ = Buffer<T>(wanted);
        arena.a = arena.storage_.data();
        arena.b = arena.a + side;
        arena.panels = arena.b + side;
        return arena;
    }

    T* a = nullptr;
    T* b = nullptr;
    T* panels = nullptr;
    std::size_t panel_size = 0;

private:
    Buffer<T> storage_;
};

// In the thread's scratch.
template <class T>
struct TileOutput {
    T* data;
    std::size_t ld;
};

// The rows of a tile, and those that this thread is likely to read after them.
struct Tile {
    std::size_t index;
    RowSelection rows, next;
    std::size_t batch;  // all rows
};

// From logits to outputs.
template <class T>
void activate(const DenseLayer<T>& layer, const TileOutput<T>& y, std::size_t rows) {
    if (layer.activation == Activation::softmax) {
        kernels<T>().softmax(y.data, y.ld, y.data, y.ld, rows, layer.out);
    } else if (layer.activation != Activation::identity) {
        kernels<T>().activation(layer.activation, y.data, y.data, nullptr, rows * y.ld);
    }
}

// One tile through all layers, whose columns a team shares. Inputs that are read where they lie have to be looked at:
// before the first layer; or, where its outputs are fewer and no team has split them, by its sums.
template <class T>
TileOutput<T> predict_tile(const std::vector<DenseLayer<T>>& layers, const InputMatrix& x, const Tile& tile,
                           const Team& team, bool logits) {
    const RowSelection& rows = tile.rows;
    double flops = 0;
    for (const DenseLayer<T>& l : layers) flops += l.flops(rows.count);
    ReadAhead ahead;
    if (tile.next.count > 0 && !is_near(x)) ahead = plan_read_ahead(x, {}, tile.next, flops);
    Arena<T>& arena = Arena<T>::of_thread(layers, rows.count, team.size());
    const MatrixView<const T> inputs = rows_in_place<T>(x, rows);
    const bool by_sums = inputs.data != nullptr && layers.front().out < layers.front().in && team.size() == 1;
    const T* from = inputs.data;
    std::size_t ld = inputs.ld;
    if (from == nullptr || (!by_sums && !are_finite(inputs))) {
        ld = leading_dimension<T>(layers.front().in);
        gather_rows(x, rows, arena.a, ld, "X");
        from = arena.a;
    }
    TileOutput<T> y{arena.a, ld};  // what was computed last; the next goes to the other side
    for (const DenseLayer<T>& l : layers) {
        const bool look = by_sums && &l == &layers.front(), last = logits && &l == &layers.back();
        y = {y.data == arena.b ? arena.a : arena.b, leading_dimension<T>(l.out)};
        dense_forward<T>(l, from, ld, y.data, nullptr, y.ld, rows.count, look || last, team,
                         {arena.panels, arena.panel_size, &ahead, false, tile.batch});
        if (look) {
            if (!are_sums_finite(y.data, y.ld, rows.count) && !are_finite(inputs))
                gather_rows(x, rows, arena.a, ld, "X");
            if (!last) activate(l, y, rows.count);
        }
        from = y.data;
        ld = y.ld;
    }
    return y;
}

std::size_t tiles_of(std::size_t rows, std::size_t each) { return (rows + each - 1) / each; }

// To where the caller wants the outputs of so many rows. (They need not be finite, as the gather could tell.)
template <class T>
void copy_rows(const TileOutput<T>& y, std::size_t rows, std::size_t columns, T* out, std::ptrdiff_t row_stride,
               std::ptrdiff_t column_stride) {
    const auto adjacent = static_cast<std::ptrdiff_t>(columns);
    if (column_stride == 1 && row_stride == adjacent && y.ld == columns) {
        std::copy_n(y.data, rows * columns, out);
    } else if (column_stride == 1 && row_stride >= adjacent) {
        constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
        kernels<T>().gather(
            {y.data, dtype_of<T>, static_cast<std::ptrdiff_t>(y.ld) * size, size, nullptr, 0, rows, columns}, out,
            static_cast<std::size_t>(row_stride));
    } else {
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                out[static_cast<std::ptrdiff_t>(i) * row_stride + static_cast<std::ptrdiff_t>(j) * column_stride] =
                    y.data[i * y.ld + j];
            }
        }
    }
}

// Runs body(Tile, Team) over so many tiles of nearly equal height: one a thread, or, where they are fewer than threads,
// one after the other with all threads.
template <class Body>
void for_each_tile(std::size_t rows, std::size_t tiles, const Team& team, Body body) {
    const auto select = [=](std::size_t tile) {
        return tile == tiles ? RowSelection{nullptr, rows, 0} : RowSelection{nullptr, 0, rows}.part(tile, tiles);
    };
    if (tiles < team.size()) {
        for (std::size_t tile = 0; tile < tiles; ++tile) body(Tile{tile, select(tile), select(tile + 1), rows}, team);
        return;
    }
    const Team alone(1);
    team.run(tiles,
             [&](std::size_t tile, std::size_t) { body(Tile{tile, select(tile), select(tile + 1), rows}, alone); });
}

// Threads for a prediction. They wait for each other once, where each takes tiles by itself, or once or twice a layer,
// so they pay for themselves at a quarter or half of the operations that a training step takes for it: some 100 µs.
// Beside the products', measured: an element of a layer's output costs as much as 40 operations, a byte of the
// parameters 16, since a few rows read them all from far away.
template <class T>
std::size_t prediction_threads(const std::vector<DenseLayer<T>>& layers, std::size_t rows, bool apart) {
    double cost = 0;
    for (const DenseLayer<T>& l : layers) {
        cost += l.flops(rows) + 40.0 * static_cast<double>(rows * l.out) +
                16.0 * static_cast<double>(l.parameter_count() * sizeof(T));
    }
    return threads_for(cost * (apart ? 4 : 2));
}

// These targets, where they lie, without gaps, or in `copy`.
template <class T>
MatrixView<const T> read_targets(const InputMatrix& y, const RowSelection& rows, std::vector<T>& copy,
                                 const Range* range) {
    const MatrixView<const T> in_place = range == nullptr ? rows_in_place<T>(y, rows) : MatrixView<const T>{};
    if (in_place.data != nullptr && in_place.ld == y.columns && are_finite(in_place)) return in_place;
    const std::size_t ld = leading_dimension<T>(y.columns);
    copy.resize(rows.count * ld);
    gather_rows(y, rows, copy.data(), ld, "y", range);
    return {copy.data(), rows.count, y.columns, ld};
}

// body(outputs, rows) for tiles of all rows.
template <class T, class Body>
void predict_by_tiles(const std::vector<DenseLayer<T>>& layers, const InputMatrix& x, bool logits, const Body& body) {
    const Team team(prediction_threads(layers, x.rows, x.rows >= least_rows * get_num_threads()));
    const std::size_t threads = team.size(), tiles = tiles_of(x.rows, rows_to_carry(layers, x.rows));
    // As many tiles for each thread: the cuts don't show in the result.
    const std::size_t even = x.rows < least_rows * threads ? tiles : (tiles + threads - 1) / threads * threads;
    for_each_tile(x.rows, even, team, [&](const Tile& tile, const Team& helpers) {
        body(predict_tile(layers, x, tile, helpers, logits), tile.rows);
    });
}

// See Network::predict_classes.
template <class T>
void find_classes(const DenseLayer<T>& last, const TileOutput<T>& logits, std::size_t rows, std::int64_t* out) {
    if (last.activation == Activation::softmax) {
        return kernels<T>().argmax(logits.data, logits.ld, out, rows, last.out);
    }
    check(last.activation == Activation::sigmoid,
          "classes need output=\"softmax\" or output=\"sigmoid\", not output=\"", activation_name(last.activation),
          '"');
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < last.out; ++j)
            out[i * last.out + j] = logits.data[i * logits.ld + j] > T(0) ? 1 : 0;
    }
}

}  // namespace

template <class T>
void Network<T>::predict(const InputMatrix& x, T* out, std::ptrdiff_t row_stride, std::ptrdiff_t column_stride,
                         bool logits) const {
    predict_by_tiles(layers_, x, logits, [&](const TileOutput<T>& y, const RowSelection& rows) {
        copy_rows(y, rows.count, outputs(), out + static_cast<std::ptrdiff_t>(rows.first) * row_stride, row_stride,
                  column_stride);
    });
}

template <class T>
void Network<T>::predict_classes(const InputMatrix& x, std::int64_t* out) const {
    predict_by_tiles(layers_, x, true, [&](const TileOutput<T>& logits, const RowSelection& rows) {
        find_classes(layers_.back(), logits, rows.count, out + rows.first * labels());
    });
}

template <class T>
double Network<T>::loss(const Samples& samples, T* prediction, std::int64_t* classes) const {
    const std::size_t n = samples.x.rows, columns = samples.y.columns;
    // Whatever the threads: the losses are added up by tiles.
    const std::size_t tiles = tiles_of(n, rows_to_carry(layers_, n));
    if (has_custom_loss()) {  // defined for a batch: all rows are one
        Buffer<T> own(prediction == nullptr ? n * outputs() : 0), target(n * columns);
        if (prediction == nullptr) prediction = own.data();
        predict(samples.x, prediction, static_cast<std::ptrdiff_t>(outputs()), 1, false);
        gather_rows(samples.y, {nullptr, 0, n}, target.data(), columns, "y");
        return penalty(static_cast<double>(n), Team(1)) + custom_loss_({prediction, n, outputs(), outputs()},
                                                                       {target.data(), n, columns, columns},
                                                                       {nullptr, n, outputs(), outputs()});
    }
    std::vector<double> losses(tiles), weights(tiles);
    const Team team(prediction_threads(layers_, n, tiles >= get_num_threads()));
    for_each_tile(n, tiles, team, [&](const Tile& tile, const Team& helpers) {
        const RowSelection& rows = tile.rows;
        const TileOutput<T> y = predict_tile(layers_, samples.x, tile, helpers, takes_logits(config_.loss));
        std::vector<T> copy, weight(samples.weight.empty() ? 0 : rows.count);
        std::vector<std::int32_t> label(samples.labels ? rows.count : 0);
        MatrixView<const T> target{};
        if (samples.labels) {
            gather_labels(samples.y, rows, label.data(), outputs());
        } else {
            target = read_targets(samples.y, rows, copy, target_range(config_.loss));
        }
        WeightSum sum{static_cast<double>(rows.count), 1.0};
        if (!samples.weight.empty()) {
            std::vector<double> wide(rows.count);
            sum = gather_weights(samples.weight, rows, weight.data(), wide.data(), config_.scikit_learn);
        }
        weights[tile.index] = sum.total();
        losses[tile.index] =
            sum.unit * kernels<T>().loss({config_.loss, config_.loss_parameter, y.data, y.ld, target.data, target.ld,
                                          samples.labels ? label.data() : nullptr,
                                          samples.weight.empty() ? nullptr : weight.data(), nullptr, 0, rows.count,
                                          outputs(), 0.0, clip()});
        if (classes != nullptr) find_classes(layers_.back(), y, rows.count, classes + rows.first * labels());
        if (prediction == nullptr) return;
        if (takes_logits(config_.loss)) activate(layers_.back(), y, rows.count);
        copy_rows(y, rows.count, outputs(), prediction + rows.first * outputs(), static_cast<std::ptrdiff_t>(outputs()),
                  1);
    });
    double total = 0, total_weight = 0;
    for (std::size_t t = 0; t < tiles; ++t) {
        total += losses[t];
        total_weight += weights[t];
    }
    return penalty(total_weight, team) + (total_weight != 0 ? loss_factors().value * total / total_weight : 0.0);
}

template void Network<float>::predict(const InputMatrix&, float*, std::ptrdiff_t, std::ptrdiff_t, bool) const;
template void Network<double>::predict(const InputMatrix&, double*, std::ptrdiff_t, std::ptrdiff_t, bool) const;
template void Network<float>::predict_classes(const InputMatrix&, std::int64_t*) const;
template double Network<float>::loss(const Samples&, float*, std::int64_t*) const;
template void Network<double>::predict_classes(const InputMatrix&, std::int64_t*) const;
template double Network<double>::loss(const Samples&, double*, std::int64_t*) const;

}  // namespace fusednet
