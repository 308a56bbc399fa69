// A dense layer's backward pass.
#include "core/blocks.h"
#include "core/dense.h"
#include "kernels/cpu_features.h"

namespace fusednet {

namespace {

// Rows of W for one task of a team's backward pass, in whole panels: of several tasks a thread no more than stay in the
// second-level cache from one product to the next.
template <class T>
std::size_t backward_unit(const DenseLayer<T>& layer, std::size_t m, std::size_t threads) {
    const std::size_t panel = kernels<T>().panel_columns, tasks = tasks_each(layer, m);
    const auto whole = [panel](std::size_t rows) { return std::max(panel, (rows + panel - 1) / panel * panel); };
    if (tasks > 1) return whole(std::min(layer.in / (tasks * threads), near_weights / (layer.out * sizeof(T))));
    const std::size_t each = whole((layer.in + threads - 1) / threads);
    return (layer.in + each - 1) / each < threads ? panel : each;
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
                                 p.layer.out, below.activation, p.scratch.panel(worker), p.scratch.rows_ahead(worker),
                                 cpu_features().zen, std::max(p.m, p.scratch.batch)});
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
                cpu_features().distant, p.scratch.rows_ahead(worker)});
    if (b.row > 0 || !layer.has_bias) return;
    k.bias_gradient(
        {p.dz + b.column, p.lddz, old + bias, out + bias, p.m, b.columns, factors.factor, factors.bias_decay, update});
    if (factors.step != nullptr) {
        const OptimizerStep<T> s = factors.step->from(layer.offset + bias);
        k.update(*s.arguments, s.w, out + bias, s.first, s.second, b.columns);
    }
}

}  // namespace

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

template <class T>
void input_gradient(const DenseLayer<T>& layer, const T* dz, std::size_t lddz, std::size_t m,
                    const BelowLayer<T>& below, std::size_t ldx, const Scratch<T>& scratch) {
    input_columns<T>({layer, dz, lddz, m, below, ldx, scratch}, 0, layer.in, 0);
}

template <class T>
void parameter_gradient(const DenseLayer<T>& layer, const T* x, std::size_t ldx, const T* dz, std::size_t lddz,
                        std::size_t m, const GradientFactors<T>& factors, std::size_t part, std::size_t parts,
                        bool columns, const Scratch<T>& scratch) {
    const KernelTable<T>& k = kernels<T>();
    const ParameterPass<T> pass{layer, x, ldx, dz, lddz, m, factors, scratch, true};
    if (columns) return parameter_block(pass, column_part(layer, layer.in, part, parts), 0);
    // Whole vectors of rows, not tiles of a few; where there are not enough of them, columns too.
    const std::size_t rows = (layer.in + parts * k.lanes - 1) / (parts * k.lanes) * k.lanes;
    const Blocks blocks(layer.in, rows, layer.out, k.panel_columns, parts, 1);
    if (part >= blocks.count()) return;
    parameter_block(pass, blocks[part], 0);
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
    const std::size_t unit = backward_unit(layer, m, threads), count = (layer.in + unit - 1) / unit;
    if (layer.trainable && below.dx != nullptr && count >= threads) {
        team.run(count, [&](std::size_t task, std::size_t worker) {
            const std::size_t first = task * unit;
            both(first, std::min(unit, layer.in - first), worker);
        });
        return;
    }
    if (below.dx != nullptr) {
        const Blocks blocks(m, product_rows(layer, m), layer.in, k.panel_columns, threads, blocks_each(layer, m));
        team.run(blocks.count(),
                 [&](std::size_t task, std::size_t worker) { input_block(input, blocks[task], worker); });
    }
    if (layer.trainable) {
        const std::size_t tasks = tasks_each(layer, m);
        std::size_t rows = std::max(k.lanes, layer.in / (tasks * threads));
        if (tasks == 1) rows = (layer.in + threads * k.lanes - 1) / (threads * k.lanes) * k.lanes;
        const Blocks blocks(layer.in, rows, layer.out, k.panel_columns, threads, tasks);
        team.run(blocks.count(),
                 [&](std::size_t task, std::size_t worker) { parameter_block(parameters, blocks[task], worker); });
    }
}

#define FUSEDNET_INSTANTIATE(T)                                                                                      \
    template void output_gradient<T>(const DenseLayer<T>&, const T*, T*, std::size_t, std::size_t, const Team&);     \
    template void input_gradient<T>(const DenseLayer<T>&, const T*, std::size_t, std::size_t, const BelowLayer<T>&,  \
                                    std::size_t, const Scratch<T>&);                                                 \
    template void parameter_gradient<T>(const DenseLayer<T>&, const T*, std::size_t, const T*, std::size_t,          \
                                        std::size_t, const GradientFactors<T>&, std::size_t, std::size_t, bool,      \
                                        const Scratch<T>&);                                                          \
    template void dense_backward<T>(const DenseLayer<T>&, const T*, std::size_t, const T*, std::size_t, std::size_t, \
                                    const BelowLayer<T>&, const GradientFactors<T>&, const Team&, const Scratch<T>&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
