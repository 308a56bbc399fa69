#include "core/dense.h"

#include "kernels/cpu_features.h"

namespace fusednet {

namespace {

// Rows of one task.
constexpr std::size_t task_rows = 128;

// Bytes of W that a second-level cache holds beside what else it has to.
constexpr std::size_t near_weights = std::size_t{1} << 19;

// Rows of one task that multiplies by W: at most as many as stay in the second-level cache with their outputs, since
// each task packs W anew, and nearly equal. (See Blocks on divisions.)
template <class T>
std::size_t product_rows(const DenseLayer<T>& layer, std::size_t rows) {
    if (rows <= task_rows) return task_rows;
    constexpr std::size_t near = std::size_t{1} << 18;  // bytes
    const std::size_t most = std::max(task_rows, near / (std::max(layer.in, layer.out) * sizeof(T)));
    const std::size_t tasks = (rows + most - 1) / most;
    std::size_t each = (rows + tasks - 1) / tasks;
    while (rows % each == 1) ++each;  // of a single row the input gradient has other bits
    return each;
}

// Up to three rows of a batch read little but W: in long pieces.
constexpr std::size_t blocks_each(std::size_t m) { return m <= 3 ? 1 : 4; }

struct Block {
    std::size_t row, rows, column, columns;
};

// A (rows, columns) result cut into blocks for a team: whole rows where there are many, else columns too. Cuts fall
// on multiples of the units. The split never shows in a result. (Divisions are kept out of the way of small networks,
// whose whole step takes as long as a dozen of them.)
class Blocks {
public:
    Blocks(std::size_t rows, std::size_t row_unit, std::size_t columns, std::size_t column_unit, std::size_t threads,
           std::size_t each = 4)  // blocks a thread, if the columns are cut
        : rows_(rows), columns_(columns), row_step_(row_unit), column_step_(columns) {
        const std::size_t row_blocks = rows <= row_unit ? 1 : (rows + row_unit - 1) / row_unit;
        if (threads > 1) {
            const std::size_t column_units = (columns + column_unit - 1) / column_unit;
            const std::size_t wanted = std::clamp<std::size_t>(each * threads / row_blocks, 1, column_units);
            column_step_ = (column_units + wanted - 1) / wanted * column_unit;
            column_blocks_ = (columns + column_step_ - 1) / column_step_;
        }
        count_ = row_blocks * column_blocks_;
    }

    std::size_t count() const { return count_; }
    Block operator[](std::size_t task) const {
        std::size_t row = task * row_step_, column = 0;
        if (column_blocks_ > 1) {
            row = task / column_blocks_ * row_step_;
            column = task % column_blocks_ * column_step_;
        }
        return {row, std::min(row_step_, rows_ - row), column, std::min(column_step_, columns_ - column)};
    }

private:
    std::size_t rows_, columns_, row_step_, column_step_, column_blocks_ = 1, count_;
};

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
    return Blocks(m, most, layer.out, k.panel_columns, threads, blocks_each(m));
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

// Rows of W for one task of a team's backward pass: four tasks a thread, in whole panels, and no more rows than stay in
// the second-level cache from one product to the next.
template <class T>
std::size_t backward_unit(const DenseLayer<T>& layer, std::size_t threads) {
    const std::size_t panel = kernels<T>().panel_columns;
    const std::size_t rows = std::min(layer.in / (4 * threads), near_weights / (layer.out * sizeof(T)));
    return std::max(panel, (rows + panel - 1) / panel * panel);
}

}  // namespace

template <class T>
bool is_divisible(const DenseLayer<T>& layer, std::size_t rows) {
    return std::max(layer.in, layer.out) > kernels<T>().panel_columns || rows > product_rows(layer, rows);
}

template <class T>
void dense_forward(const DenseLayer<T>& layer, const T* x, std::size_t ldx, T* y, T* derivative, std::size_t ldy,
                   std::size_t m, bool logits, const Team& team, const Scratch<T>& scratch) {
    const KernelTable<T>& k = kernels<T>();
    const Activation f = logits ? Activation::identity : layer.activation;
    // By the rows of W from `first` to `end`.
    const auto compute = [&](const Block& b, std::size_t first, std::size_t end, std::size_t worker) {
        const std::size_t offset = b.row * ldy + b.column;
        k.dense_forward({x + b.row * ldx + first, ldx, layer.w + first * layer.out + b.column, layer.out,
                         layer.has_bias ? layer.b + b.column : nullptr, y + offset, ldy,
                         derivative != nullptr ? derivative + offset : nullptr, b.rows, end - first, b.columns,
                         end == layer.in ? f : Activation::identity, scratch.panel(worker), scratch.rows_ahead(worker),
                         first > 0, cpu_features().halved_registers});
    };
    if (team.size() == 1 && m <= task_rows) {  // a small network would feel the cutting
        compute({0, m, 0, layer.out}, 0, layer.in, 0);
    } else {
        const Blocks blocks = forward_blocks(layer, m, team.size());
        const std::size_t count = blocks.count(), end = in_halves(layer, m, count) ? layer.in / 2 : layer.in;
        team.run(count, [&](std::size_t task, std::size_t worker) { compute(blocks[task], 0, end, worker); });
        if (end < layer.in) {
            team.run(count, [&](std::size_t task, std::size_t worker) {
                compute(blocks[(task + count / 2) % count], end, layer.in, worker);
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

template <class T>
void output_gradient(const DenseLayer<T>& layer, const T* saved, T* dy, std::size_t ld, std::size_t m,
                     const Team& team) {
    const KernelTable<T>& k = kernels<T>();
    if (layer.activation == Activation::identity) return;
    const Blocks rows(m, task_rows, 1, 1, team.size());
    team.run(rows.count(), [&](std::size_t task, std::size_t) {
        const Block b = rows[task];
        const std::size_t offset = b.row * ld;
        if (layer.activation == Activation::softmax) {
            k.softmax_backward(saved + offset, ld, dy + offset, ld, dy + offset, ld, b.rows, layer.out);
        } else {
            k.activation_backward(layer.activation, saved + offset, dy + offset, dy + offset, b.rows * ld);
        }
    });
}

// A gradient by a layer's input, and what it is made of.
template <class T>
struct InputPass {
    const DenseLayer<T>& layer;
    const T* dz;
    std::size_t lddz, m;
    const BelowLayer<T>& below;
    std::size_t ldx;
    const Scratch<T>& scratch;
};

template <class T>
void input_block(const InputPass<T>& p, const Block& b, std::size_t worker) {
    const std::size_t offset = b.row * p.ldx + b.column;
    const BelowLayer<T>& below = p.below;
    kernels<T>().input_gradient({p.dz + b.row * p.lddz, p.lddz, p.layer.w + b.column * p.layer.out, p.layer.out,
                                 below.dx + offset, p.ldx, below.saved != nullptr ? below.saved + offset : nullptr,
                                 below.mask != nullptr ? below.mask + offset : nullptr, p.ldx, b.rows, b.columns,
                                 p.layer.out, below.activation, p.scratch.panel(worker), p.scratch.rows_ahead(worker)});
}

// So many columns of all rows.
template <class T>
void input_columns(const InputPass<T>& p, std::size_t first, std::size_t columns, std::size_t worker) {
    const std::size_t step = product_rows(p.layer, p.m);
    for (std::size_t i = 0; i < p.m; i += step) input_block(p, {i, std::min(step, p.m - i), first, columns}, worker);
}

// A gradient by a layer's parameters, what it is made of and what becomes of it. `shared`: by a team.
template <class T>
struct ParameterPass {
    const DenseLayer<T>& layer;
    const T* x;
    std::size_t ldx;
    const T* dz;
    std::size_t lddz, m;
    const GradientFactors<T>& factors;
    const Scratch<T>& scratch;
    bool shared;
};

// A block of W, and with the first rows as much of the bias.
template <class T>
void parameter_block(const ParameterPass<T>& p, const Block& b, std::size_t worker) {
    const KernelTable<T>& k = kernels<T>();
    const DenseLayer<T>& layer = p.layer;
    const GradientFactors<T>& factors = p.factors;
    T* const out = factors.gradient != nullptr ? factors.gradient + layer.offset : layer.w;
    const T* const old = factors.added ? out : layer.w;
    const bool update = factors.gradient == nullptr || factors.added;
    const std::size_t weight = b.row * layer.out + b.column, bias = layer.in * layer.out + b.column;
    const auto of_weights = [&](const WeightGradient<T>& g) {
        factors.step == nullptr ? k.weight_gradient(g) : k.weight_step(g, factors.step->from(layer.offset + weight));
    };
    of_weights({p.x + b.row, p.ldx, p.dz + b.column, p.lddz, old + weight, out + weight, layer.out, p.m, b.rows,
                b.columns, factors.factor, factors.weight_decay, update, p.scratch.panel(worker), layer.in, p.shared,
                p.shared && cpu_features().distant_cores, p.scratch.rows_ahead(worker)});
    if (b.row > 0 || !layer.has_bias) return;
    k.bias_gradient(
        {p.dz + b.column, p.lddz, old + bias, out + bias, p.m, b.columns, factors.factor, factors.bias_decay, update});
    if (factors.step != nullptr) {
        const OptimizerStep<T> s = factors.step->from(layer.offset + bias);
        k.update(*s.arguments, s.w, out + bias, s.first, s.second, b.columns);
    }
}

template <class T>
void input_gradient(const DenseLayer<T>& layer, const T* dz, std::size_t lddz, std::size_t m,
                    const BelowLayer<T>& below, std::size_t ldx, const Scratch<T>& scratch) {
    input_columns<T>({layer, dz, lddz, m, below, ldx, scratch}, 0, layer.in, 0);
}

template <class T>
void parameter_gradient(const DenseLayer<T>& layer, const T* x, std::size_t ldx, const T* dz, std::size_t lddz,
                        std::size_t m, const GradientFactors<T>& factors, std::size_t part, std::size_t parts,
                        const Scratch<T>& scratch) {
    const KernelTable<T>& k = kernels<T>();
    // Whole vectors of rows, not tiles of a few; where there are not enough of them, columns too.
    const std::size_t rows = (layer.in + parts * k.lanes - 1) / (parts * k.lanes) * k.lanes;
    const Blocks blocks(layer.in, rows, layer.out, k.panel_columns, parts, 1);
    if (part >= blocks.count()) return;
    parameter_block<T>({layer, x, ldx, dz, lddz, m, factors, scratch, true}, blocks[part], 0);
}

template <class T>
void dense_backward(const DenseLayer<T>& layer, const T* x, std::size_t ldx, const T* dz, std::size_t lddz,
                    std::size_t m, const BelowLayer<T>& below, const GradientFactors<T>& factors, const Team& team,
                    const Scratch<T>& scratch) {
    const KernelTable<T>& k = kernels<T>();
    const std::size_t threads = team.size();
    const InputPass<T> input{layer, dz, lddz, m, below, ldx, scratch};
    const ParameterPass<T> parameters{layer, x, ldx, dz, lddz, m, factors, scratch, threads != 1};
    // Some rows of W and then their update.
    const auto both = [&](std::size_t first, std::size_t rows, std::size_t worker) {
        if (below.dx != nullptr) input_columns(input, first, rows, worker);
        if (layer.trainable) parameter_block(parameters, {first, rows, 0, layer.out}, worker);
    };
    if (threads == 1) return both(0, layer.in, 0);
    // While they are near: W is fetched once, and threads wait for each other once.
    const std::size_t unit = backward_unit(layer, threads), count = (layer.in + unit - 1) / unit;
    if (layer.trainable && below.dx != nullptr && count >= threads) {
        team.run(count, [&](std::size_t task, std::size_t worker) {
            const std::size_t first = task * unit;
            both(first, std::min(unit, layer.in - first), worker);
        });
        return;
    }
    if (below.dx != nullptr) {
        const Blocks blocks(m, product_rows(layer, m), layer.in, k.panel_columns, threads, blocks_each(m));
        team.run(blocks.count(),
                 [&](std::size_t task, std::size_t worker) { input_block(input, blocks[task], worker); });
    }
    if (layer.trainable) {
        const std::size_t rows = std::max<std::size_t>(k.lanes, layer.in / (4 * threads));
        const Blocks blocks(layer.in, rows, layer.out, k.panel_columns, threads);
        team.run(blocks.count(),
                 [&](std::size_t task, std::size_t worker) { parameter_block(parameters, blocks[task], worker); });
    }
}

#define FUSEDNET_INSTANTIATE(T)                                                                                      \
    template bool is_divisible<T>(const DenseLayer<T>&, std::size_t);                                                \
    template void dense_forward<T>(const DenseLayer<T>&, const T*, std::size_t, T*, T*, std::size_t, std::size_t,    \
                                   bool, const Team&, const Scratch<T>&);                                            \
    template void dense_dropout<T>(const DropoutArguments<T>&, const Team&);                                         \
    template void output_gradient<T>(const DenseLayer<T>&, const T*, T*, std::size_t, std::size_t, const Team&);     \
    template void input_gradient<T>(const DenseLayer<T>&, const T*, std::size_t, std::size_t, const BelowLayer<T>&,  \
                                    std::size_t, const Scratch<T>&);                                                 \
    template void parameter_gradient<T>(const DenseLayer<T>&, const T*, std::size_t, const T*, std::size_t,          \
                                        std::size_t, const GradientFactors<T>&, std::size_t, std::size_t,            \
                                        const Scratch<T>&);                                                          \
    template void dense_backward<T>(const DenseLayer<T>&, const T*, std::size_t, const T*, std::size_t, std::size_t, \
                                    const BelowLayer<T>&, const GradientFactors<T>&, const Team&, const Scratch<T>&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
