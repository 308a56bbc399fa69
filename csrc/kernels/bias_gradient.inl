// The gradient of a dense layer's bias, the sums of dZ by columns: stored, or added to b. And what it has in common
// with the weights': sums by columns, what becomes of a sum, and a batch's blocks of rows.
#pragma once

#include "arithmetic.h"
#include "kernel_table.h"

namespace fusednet::FUSEDNET_SET {

// finish(j, sum) for sums over m rows by columns j to n, of whole vectors and the rest: sum = add(sum, row, j). So many
// vectors at a time, then half as many, hide the latency of an addition.
template <size_t vectors, class T, class Add, class Finish>
FUSEDNET_INLINE void sum_columns(size_t m, size_t j, size_t n, const Add& add, const Finish& finish) {
    const auto sum_group = [&](auto access) {
        Vec<T> sum[vectors] = {};
        for (size_t i = 0; i < m; ++i) {
            for (size_t v = 0; v < vectors; ++v) sum[v] = add(sum[v], i, j + v * lanes<T>, access);
        }
        for (size_t v = 0; v < vectors; ++v) finish(j + v * lanes<T>, sum[v], access);
    };
    for (; j + vectors * lanes<T> <= n; j += vectors * lanes<T>) sum_group(WholeAccess<T>{});
    if constexpr (vectors > 1) {
        sum_columns<vectors / 2, T>(m, j, n, add, finish);
    } else if (j < n) {
        sum_group(PartialAccess<T>{n - j});
    }
}

// What WeightGradient and BiasGradient say of a sum and the old parameter.
template <class Gradient, class V, class Old>
FUSEDNET_INLINE V parameter_or_gradient(const Gradient& g, V sum, const Old& old) {
    const V factor = broadcast(g.factor);
    if (g.decay == 0) return g.update ? fma(sum, factor, old()) : sum * factor;
    const V w = old(), total = fma(w, broadcast(g.decay), sum);
    return g.update ? fma(total, factor, w) : total * factor;
}

// sum_columns for rows that are a vector or less: by several chains, which hide the latency of an addition.
template <class T, class Add, class Finish>
FUSEDNET_INLINE void sum_short_rows(size_t m, size_t n, const Add& add, const Finish& finish) {
    constexpr size_t chains = 4;
    for_each_vector<T>(n, [&](size_t j, auto access) {
        Vec<T> sum[chains] = {};
        size_t i = 0;
        for (; i + chains <= m; i += chains) {
            for (size_t c = 0; c < chains; ++c) sum[c] = add(sum[c], i + c, j, access);
        }
        for (; i < m; ++i) sum[0] = add(sum[0], i, j, access);
        finish(j, (sum[0] + sum[1]) + (sum[2] + sum[3]), access);
    });
}

// To the rows after a block: what they give is added.
template <class T>
void move_on(WeightGradient<T>& g) {
    g.x += g.m * g.ldx;
    g.w = g.out;
}
template <class T>
void move_on(BiasGradient<T>& g) {
    g.b = g.out;
}

// compute(block) for each block of the gradient's rows, in order.
template <class Gradient, class Compute>
FUSEDNET_INLINE void for_each_block(const Gradient& g, const Compute& compute) {
    const size_t blocks = block_count(g.m);
    if (blocks == 1) return compute(g);
    Gradient block = g;
    for (size_t b = 0; b < blocks; ++b) {
        block.m = block_begin(g.m, blocks, b + 1) - block_begin(g.m, blocks, b);
        compute(block);
        move_on(block);
        block.dz += block.m * block.lddz;
        block.decay = 0;
        block.update = true;
    }
}

template <class T>
void block_bias_gradient(const BiasGradient<T>& g) {
    if (g.n == 1 && g.lddz == 1) {
        Vec<T> acc{};
        for_each_vector<T>(g.m, [&](size_t i, auto access) { acc += access.load(g.dz + i); });
        const Vec<T> sum = broadcast(sum_lanes<T>(acc));
        g.out[0] = parameter_or_gradient(g, sum, [&] { return broadcast(g.b[0]); })[0];
        return;
    }
    const auto finish = [&g](size_t j, Vec<T> sum, auto access) {
        access.store(g.out + j, parameter_or_gradient(g, sum, [&] { return access.load(g.b + j); }));
    };
    const auto add = [&g](Vec<T> sum, size_t i, size_t j, auto access) {
        return sum + access.load(g.dz + i * g.lddz + j);
    };
    // (Whatever columns these are of them: the bits must not depend on where the rows were split.)
    if (g.lddz > lanes<T>) return sum_columns<4, T>(g.m, 0, g.n, add, finish);
    sum_short_rows<T>(g.m, g.n, add, finish);
}

template <class T>
void bias_gradient(const BiasGradient<T>& g) {
    for_each_block(g, block_bias_gradient<T>);
}

}  // namespace fusednet::FUSEDNET_SET
