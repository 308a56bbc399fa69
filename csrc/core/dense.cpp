// A dense layer's forward pass.
#include "core/dense.h"

#include "core/blocks.h"
#include "kernels/cpu_features.h"

namespace fusednet {

namespace {

// An output is cut by rows where W is small, since each thread reads all of it, and where they are many; or not so
// many, if columns would give one thread more than another. Else by columns. (Less work than a tenth of a microsecond
// for a thread is not worth the wait.)
template <class T>
Blocks forward_blocks(const DenseLayer<T>& layer, std::size_t m, std::size_t threads) {
    const KernelTable<T>& k = kernels<T>();
    constexpr std::size_t many = 64, enough = 8000;  // rows a thread, products
    const std::size_t weights = layer.in * layer.out, most = product_rows(layer, m);
    if (threads > 1 && weights * sizeof(T) <= near_weights && m * weights >= enough * threads) {
        const bool even = layer.out % (threads * k.panel_columns) == 0;
        if (m >= (even ? many : many / 2) * threads) {
            const std::size_t count = std::clamp<std::size_t>(m / (many * threads), 1, 4) * threads;
            return Blocks(m, std::min(most, (m + count - 1) / count), layer.out, layer.out, threads);
        }
    }
    return Blocks(m, most, layer.out, k.panel_columns, threads, blocks_each(layer, m));
}

// Whether a few rows go through W in two halves of the depth, of which a thread takes different columns. If it took the
// same ones of rows that are a power of two apart, their lines would share half of the sets of its second-level cache.
// (Such rows are whole vectors: the bits stay the same, see DenseForward.)
template <class T>
bool in_halves(const DenseLayer<T>& layer, std::size_t m, std::size_t tasks) {
    constexpr std::size_t most_rows = 16;  // more of them wait for the multiply-adds
    const std::size_t row = layer.out * sizeof(T);
    const bool crowded = row >= 1024 && (row & (row - 1)) == 0;
    return m <= most_rows && tasks > 1 && crowded && layer.in > 1 && layer.in * row > near_weights;
}

// Of a team another thread may have read W before, or updated it: then it is in that one's cache.
template <class T>
Place place_in_team(const DenseLayer<T>& layer, bool shared) {
    return shared && layer.place == Place::near ? Place::unknown : layer.place;
}

}  // namespace

template <class T>
bool is_divisible(const DenseLayer<T>& layer, std::size_t rows) {
    return std::max(layer.in, layer.out) > kernels<T>().panel_columns || rows > product_rows(layer, rows);
}

// An output, and what it is made of.
template <class T>
struct ForwardPass {
    const DenseLayer<T>& layer;
    const T* x;
    std::size_t ldx;
    T *y, *derivative;
    std::size_t ldy;
    Activation activation;
    const Scratch<T>& scratch;
    Place place;
    std::size_t batch;
};

// A block of it by the rows of W from `first` to `end`. (A small network would feel the call.)
template <class T>
FUSEDNET_INLINE void forward_block(const ForwardPass<T>& p, const Block& b, std::size_t first, std::size_t end,
                                   std::size_t worker) {
    const DenseLayer<T>& layer = p.layer;
    const std::size_t offset = b.row * p.ldy + b.column;
    kernels<T>().dense_forward({p.x + b.row * p.ldx + first, p.ldx, layer.w + first * layer.out + b.column, layer.out,
                                layer.has_bias ? layer.b + b.column : nullptr, p.y + offset, p.ldy,
                                p.derivative != nullptr ? p.derivative + offset : nullptr, b.rows, end - first,
                                b.columns, end == layer.in ? p.activation : Activation::identity,
                                p.scratch.panel(worker), p.scratch.rows_ahead(worker), first > 0, cpu_features().zen,
                                p.place, p.batch});
}

template <class T>
void dense_forward(const DenseLayer<T>& layer, const T* x, std::size_t ldx, T* y, T* derivative, std::size_t ldy,
                   std::size_t m, bool logits, const Team& team, const Scratch<T>& scratch) {
    const KernelTable<T>& k = kernels<T>();
    const Activation f = logits ? Activation::identity : layer.activation;
    const Place place = place_in_team(layer, scratch.shared || team.size() > 1);
    const std::size_t batch = std::max(m, scratch.batch);
    const ForwardPass<T> pass{layer, x, ldx, y, derivative, ldy, f, scratch, place, batch};
    if (team.size() == 1 && m <= task_rows) {  // a small network would feel the cutting
        forward_block(pass, {0, m, 0, layer.out}, 0, layer.in, 0);
    } else {
        const Blocks blocks = forward_blocks(layer, m, team.size());
        const std::size_t count = blocks.count(), end = in_halves(layer, batch, count) ? layer.in / 2 : layer.in;
        team.run(count,
                 [&](std::size_t task, std::size_t worker) { forward_block(pass, blocks[task], 0, end, worker); });
        if (end < layer.in) {
            team.run(count, [&](std::size_t task, std::size_t worker) {
                forward_block(pass, blocks[(task + count / 2) % count], end, layer.in, worker);
            });
        }
    }
    if (f == Activation::softmax) {
        const Blocks rows(m, task_rows, 1, 1, team.size());
        team.run(rows.count(), [&](std::size_t task, std::size_t) {
            const Block b = rows[task];
            k.softmax(y + b.row * ldy, ldy, y + b.row * ldy, ldy, b.rows, layer.out);
        });
    }
}

template <class T>
void forward_columns(const DenseLayer<T>& layer, const T* x, std::size_t ldx, T* y, T* derivative, std::size_t ldy,
                     std::size_t m, std::size_t part, std::size_t parts, const Scratch<T>& scratch) {
    const Place place = place_in_team(layer, true);
    const std::size_t batch = std::max(m, scratch.batch);
    const ForwardPass<T> pass{layer, x, ldx, y, derivative, ldy, layer.activation, scratch, place, batch};
    const Block own = column_part(layer, m, part, parts);
    const std::size_t step = product_rows(layer, m);
    for (std::size_t i = 0; i < m; i += step)
        forward_block(pass, {i, std::min(step, m - i), own.column, own.columns}, 0, layer.in, 0);
}

template <class T>
void dense_dropout(const DropoutArguments<T>& a, const Team& team) {
    constexpr std::size_t enough = 4096;  // elements for a thread
    const std::size_t parts = std::clamp<std::size_t>(a.rows * a.columns / enough, 1, team.size());
    const Blocks rows(a.rows, (a.rows + parts - 1) / parts, 1, 1, team.size());
    team.run(rows.count(), [&](std::size_t task, std::size_t) {
        const Block b = rows[task];
        const std::size_t offset = b.row * a.ld;
        kernels<T>().dropout({a.a + offset, a.mask + offset, a.out + offset, a.ld, b.rows, a.columns,
                              a.first_row + b.row, a.rate, a.seed, a.step, a.layer});
    });
}

#define FUSEDNET_INSTANTIATE(T)                                                                                     \
    template bool is_divisible<T>(const DenseLayer<T>&, std::size_t);                                               \
    template void dense_forward<T>(const DenseLayer<T>&, const T*, std::size_t, T*, T*, std::size_t, std::size_t,   \
                                   bool, const Team&, const Scratch<T>&);                                           \
    template void forward_columns<T>(const DenseLayer<T>&, const T*, std::size_t, T*, T*, std::size_t, std::size_t, \
                                     std::size_t, std::size_t, const Scratch<T>&);                                  \
    template void dense_dropout<T>(const DropoutArguments<T>&, const Team&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
