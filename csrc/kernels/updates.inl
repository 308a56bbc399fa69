// Optimizer updates and the small passes over flat arrays. Plain loops the compiler vectorises; those that divide are
// written by the vector, for the quicker division. The rules are PyTorch's (torch.optim): velocity v ← μv + g and w ← w
// − αv; Adam's ε outside the square root of the corrected second moment. Those called inner are scikit-learn's: v ← μv
// + αg and w ← w − v, which differs once α changes; Adam's w ← w − α·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√s + ε), the last form
// in section 2 of its paper.
#pragma once

#include <limits>

#include "arithmetic.h"
#include "kernel_table.h"

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

// ε, at least the smallest normal number: as a divisor of zero it may not be zero, nor subnormal for float32's
// divide_any.
template <class T>
T at_least_normal(double epsilon) {
    const T least = std::numeric_limits<T>::min(), e = static_cast<T>(epsilon);
    return e < least ? least : e;
}

// Whether root_plus is so long a chain of operations that a processor, which looks ahead only so far, has too few
// vectors under way: quicker are two halves of it, each for a strip of vectors.
template <class T>
constexpr bool long_roots = FUSEDNET_VECTOR_BYTES == 32 && sizeof(T) == sizeof(double);

// numerator / (√square + ε), for one vector.
template <class T>
struct Ratio {
    Vec<T> numerator, square;
};

// For each vector of n elements: `renew(offset, access)` gives its ratio, `step(offset, access, numerator, divisor)`
// takes what that is divided by. With AVX2 every third root of float32 comes from multiply-adds: the divider has enough
// to do with the other two and three quotients. (All three take each stage together, or the chain of multiply-adds
// would hold up the divider.)
template <class T, class Renew, class Step>
FUSEDNET_INLINE void for_each_root(size_t n, T epsilon, const Renew& renew, const Step& step) {
    size_t i = 0;
#if FUSEDNET_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == sizeof(float)) {
        constexpr size_t vectors = 3;
        const WholeAccess<T> access;
        for (; i + vectors * lanes<T> <= n; i += vectors * lanes<T>) {
            Ratio<T> ratios[vectors];
            for (size_t v = 0; v < vectors; ++v) ratios[v] = renew(i + v * lanes<T>, access);
            Vec<T> roots[vectors];
            for (size_t v = 0; v + 1 < vectors; ++v) roots[v] = square_root(ratios[v].square);
            roots[vectors - 1] = square_root_without_divider(ratios[vectors - 1].square);
            for (size_t v = 0; v < vectors; ++v)
                step(i + v * lanes<T>, access, ratios[v].numerator, roots[v] + epsilon);
        }
    }
#endif
    for_each_vector<T>(n - i, [=](size_t j, auto access) FUSEDNET_ALWAYS_INLINE {
        const Ratio<T> ratio = renew(i + j, access);
        step(i + j, access, ratio.numerator, root_plus(ratio.square, epsilon));
    });
}

enum class Decay { none, coupled, decoupled };

// α/(1 − β₁ᵗ)·m/(√(s/c) + ε) with c = 1 − β₂ᵗ, as α·√c/(1 − β₁ᵗ)·m/(√s + ε·√c): the loop has a step less to do.
template <Decay decay, class T>
void adam(const UpdateArguments& a, T* __restrict w, const T* __restrict g, T* __restrict first, T* __restrict second,
          size_t n) {
    const double correction = __builtin_sqrt(a.correction2);
    const T rate = static_cast<T>(a.learning_rate * correction / a.correction1);
    const T epsilon = at_least_normal<T>(a.rule == UpdateRule::inner_adam ? a.epsilon : a.epsilon * correction);
    const T rest1 = static_cast<T>(1.0 - a.beta1);
    const T beta2 = static_cast<T>(a.beta2), rest2 = static_cast<T>(1.0 - a.beta2);
    const T factor = static_cast<T>(decay == Decay::decoupled ? a.learning_rate * a.weight_decay : a.weight_decay);
    const auto renew = [=](size_t i, auto access) FUSEDNET_ALWAYS_INLINE {
        const Vec<T> old = access.load(first + i);
        Vec<T> gradient = access.load(g + i);
        if (decay == Decay::coupled) gradient = fma(access.load(w + i), broadcast(factor), gradient);
        const Vec<T> m = fma(gradient - old, broadcast(rest1), old);
        const Vec<T> v = fma(rest2 * gradient, gradient, beta2 * access.load(second + i));
        access.store(first + i, m);
        access.store(second + i, v);
        return Ratio<T>{m, v};
    };
    const auto step = [=](size_t i, auto access, Vec<T> m, Vec<T> divisor) FUSEDNET_ALWAYS_INLINE {
        const Vec<T> x = access.load(w + i), direction = divide_any(m, divisor);
        if (decay == Decay::decoupled) {  // a factor of x near 1 would be rounded
            access.store(w + i, x - fma(x, broadcast(factor), rate * direction));
        } else {
            access.store(w + i, fma(direction, broadcast(-rate), x));
        }
    };
    if constexpr (long_roots<T>) {
        constexpr size_t vectors = 16, strip = vectors * lanes<T>;
        Vec<T> inverse[vectors];
        for (size_t begin = 0; begin < n; begin += strip) {
            const size_t count = n - begin < strip ? n - begin : strip;
            for_each_vector<T>(count, [&](size_t j, auto access) FUSEDNET_ALWAYS_INLINE {
                inverse[j / lanes<T>] = estimate_inverse_root(renew(begin + j, access).square);
            });
            for_each_vector<T>(count, [&](size_t j, auto access) FUSEDNET_ALWAYS_INLINE {
                const size_t i = begin + j;
                const Vec<T> divisor = root_plus(access.load(second + i), inverse[j / lanes<T>], epsilon);
                step(i, access, access.load(first + i), divisor);
            });
        }
    } else {
        for_each_root(n, epsilon, renew, step);
    }
}

template <class T>
void rmsprop(const UpdateArguments& a, T* __restrict w, const T* __restrict g, T* __restrict second, size_t n) {
    const T rate = static_cast<T>(a.learning_rate), decay = static_cast<T>(a.weight_decay);
    const T rho = static_cast<T>(a.beta2), rest = static_cast<T>(1.0 - a.beta2),
            epsilon = at_least_normal<T>(a.epsilon);
    const auto renew = [=](size_t i, auto access) FUSEDNET_ALWAYS_INLINE {
        const Vec<T> gradient = fma(access.load(w + i), broadcast(decay), access.load(g + i));
        const Vec<T> v = fma(access.load(second + i), broadcast(rho), rest * gradient * gradient);
        access.store(second + i, v);
        return Ratio<T>{rate * gradient, v};
    };
    for_each_root(n, epsilon, renew, [=](size_t i, auto access, Vec<T> step, Vec<T> divisor) FUSEDNET_ALWAYS_INLINE {
        access.store(w + i, access.load(w + i) - divide_any(step, divisor));
    });
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
void take_update(const UpdateArguments& a, T* w, const T* g, T* first, T* second, size_t n) {
    switch (a.rule) {
        case UpdateRule::sgd: return sgd(a, w, g, n);
        case UpdateRule::momentum: return momentum<false, false>(a, w, g, first, n);
        case UpdateRule::nesterov: return momentum<true, false>(a, w, g, first, n);
        case UpdateRule::adamw: return adam<Decay::decoupled>(a, w, g, first, second, n);
        case UpdateRule::rmsprop: return rmsprop(a, w, g, second, n);
        case UpdateRule::inner_momentum: return momentum<false, true>(a, w, g, first, n);
        case UpdateRule::inner_nesterov: return momentum<true, true>(a, w, g, first, n);
        case UpdateRule::adam:
        case UpdateRule::inner_adam:
            return a.weight_decay == 0 ? adam<Decay::none>(a, w, g, first, second, n)
                                       : adam<Decay::coupled>(a, w, g, first, second, n);
    }
}

template <class T>
void update(const UpdateArguments& a, T* w, const T* g, T* first, T* second, size_t n) {
    take_update(a, w, g, first, second, n);
    if (a.drop_subnormal) drop_subnormal(g, first, second, n);
}

// x − x is zero for finite x and NaN otherwise. A few rows ahead are on their way, which no processor can guess.
template <class S, class T>
size_t gather(const S* source, std::ptrdiff_t ld_source, const std::int64_t* index, size_t first_row, size_t rows,
              size_t columns, T* out, size_t ldo) {
    Vec<T> excess{};
    const auto row = [=](size_t i) {
        const auto number = index != nullptr ? index[i] : static_cast<std::int64_t>(first_row + i);
        return source + static_cast<std::ptrdiff_t>(number) * ld_source;
    };
    const auto for_each_row = [=](const auto& copy) {
        constexpr size_t lead = 4;
        for (size_t i = 0; i < rows; ++i)
            copy(row(i), out + i * ldo, row(index != nullptr && i + lead < rows ? i + lead : i));
    };
    if constexpr (sizeof(S) != sizeof(T)) {
        for_each_row([=, &excess](const S* from, T* to, const S* ahead) {
            for (size_t j = 0; j < columns; j += cache_line / sizeof(S)) __builtin_prefetch(ahead + j, 0, 2);
            for (size_t j = 0; j < columns; ++j) to[j] = static_cast<T>(from[j]);
            for_each_vector<T>(columns, [=, &excess](size_t j, auto access) {
                const Vec<T> v = access.load(to + j);
                excess += v - v;
            });
        });
    } else {
        const auto copy_vector = [&excess](const T* from, T* to, const T* ahead, auto access) {
            __builtin_prefetch(ahead, 0, 2);
            const Vec<T> v = access.load(from);
            excess += v - v;
            access.store(to, v);
        };
        if (columns < lanes<T>) {  // one mask for all
            const PartialAccess<T> access{columns};
            for_each_row([=](const T* from, T* to, const T* ahead) { copy_vector(from, to, ahead, access); });
        } else {
            for_each_row([=](const T* from, T* to, const T* ahead) {
                for_each_vector<T>(columns,
                                   [=](size_t j, auto access) { copy_vector(from + j, to + j, ahead + j, access); });
            });
        }
    }
    if (sum_lanes<T>(excess) == T(0)) return rows;
    for (size_t i = 0; i < rows; ++i) {  // rare: look for the row
        for (size_t j = 0; j < columns; ++j) {
            const T x = out[i * ldo + j];
            if (!(x - x == T(0))) return i;
        }
    }
    return rows;
}

template <class T>
double sum_squares(const T* x, size_t n) {
    constexpr size_t block = 64 * lanes<T>;
    double total = 0;
    for (size_t i = 0; i < n; i += block) {
        Vec<T> sum{};
        for_each_vector<T>(n - i < block ? n - i : block, [&](size_t j, auto access) {
            const Vec<T> v = access.load(x + i + j);
            sum += v * v;
        });
        total += static_cast<double>(sum_lanes<T>(sum));
    }
    return total;
}

template <class T>
void scale(T* x, T factor, size_t n) {
    for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace fusednet::FUSEDNET_SET
