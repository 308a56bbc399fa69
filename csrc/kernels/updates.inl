// Optimizer updates and the small passes over flat arrays. The rules are PyTorch's (torch.optim): velocity v ← μv + g
// and w ← w − αv; Adam's ε outside the square root of the corrected second moment. Those called inner are
// scikit-learn's: v ← μv + αg and w ← w − v, which differs once α changes; Adam's w ← w − α·√(1 − β₂ᵗ)/(1 − β₁ᵗ) ·
// m/(√s + ε), the last form in section 2 of its paper.
#pragma once

#include <limits>

#include "adaptive_updates.inl"

namespace fusednet::FUSEDNET_SET {

template <class T>
void sgd(const UpdateArguments& a, T* __restrict w, const T* __restrict g, size_t n) {
    const T rate = static_cast<T>(a.learning_rate), decay = static_cast<T>(a.weight_decay);
    for (size_t i = 0; i < n; ++i) w[i] -= rate * (g[i] + decay * w[i]);
}

template <bool nesterov, bool inner, class T>
void momentum(const UpdateArguments& a, T* __restrict w, const T* __restrict g, T* __restrict velocity, size_t n) {
    const T rate = static_cast<T>(a.learning_rate), decay = static_cast<T>(a.weight_decay);
    const T mu = static_cast<T>(a.beta1);
    const T inside = inner ? rate : T(1), outside = inner ? T(1) : rate;
    for (size_t i = 0; i < n; ++i) {
        const T step = inside * (g[i] + decay * w[i]);
        const T v = mu * velocity[i] + step;
        velocity[i] = v;
        w[i] -= outside * (nesterov ? step + mu * v : v);
    }
}

// Makes subnormal moments zero. Without a gradient one decays to a few times the least of all numbers, from where
// rounding lets it go no further, and processors take some hundred times as long for computing with it. (A second
// moment only where it divides zero: the root of a subnormal one need not be small beside ε.)
template <class T>
void drop_subnormal(const T* g, T* first, T* second, size_t n) {
    constexpr T least = std::numeric_limits<T>::min();
    for (size_t i = 0; first != nullptr && i < n; ++i) first[i] = __builtin_fabs(first[i]) < least ? T(0) : first[i];
    const T* divided = first != nullptr ? first : g;
    for (size_t i = 0; second != nullptr && i < n; ++i) {
        const bool idle = (divided[i] == T(0)) & (second[i] < least);
        second[i] = idle ? T(0) : second[i];
    }
}

template <class T>
void update(const UpdateArguments& a, T* w, const T* g, T* first, T* second, size_t n) {
    switch (a.rule) {
        case UpdateRule::sgd: sgd(a, w, g, n); break;
        case UpdateRule::momentum: momentum<false, false>(a, w, g, first, n); break;
        case UpdateRule::nesterov: momentum<true, false>(a, w, g, first, n); break;
        case UpdateRule::rmsprop: rmsprop(a, w, g, second, n); break;
        case UpdateRule::inner_momentum: momentum<false, true>(a, w, g, first, n); break;
        case UpdateRule::inner_nesterov: momentum<true, true>(a, w, g, first, n); break;
        case UpdateRule::adam:
        case UpdateRule::adamw:
        case UpdateRule::inner_adam:
            with_decay(a, [&](auto decay) { adam(AdamStep<decay.value, T>(a), w, g, first, second, n); });
            break;
    }
    if (a.drop_subnormal) drop_subnormal(g, first, second, n);
}

// By several chains, which hide the latency of a multiply-add.
template <class T>
double sum_squares(const T* x, size_t n) {
    constexpr size_t chains = 4, step = chains * lanes<T>, block = 16 * step;
    double total = 0;
    for (size_t i = 0; i < n; i += block) {
        Vec<T> sum[chains] = {};
        const size_t length = at_most(n - i, block), whole = length - length % step;
        const auto add = [&](size_t j, size_t chain, auto access) {
            const Vec<T> v = access.load(x + i + j);
            sum[chain] = fma(v, v, sum[chain]);
        };
        for (size_t j = 0; j < whole; j += step) {
            for (size_t c = 0; c < chains; ++c) add(j + c * lanes<T>, c, WholeAccess<T>{});
        }
        for_each_vector<T>(length - whole, [&](size_t j, auto access) { add(whole + j, 0, access); });
        total += static_cast<double>(sum_lanes<T>((sum[0] + sum[1]) + (sum[2] + sum[3])));
    }
    return total;
}

template <class T>
void scale(T* x, T factor, size_t n) {
    for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace fusednet::FUSEDNET_SET
