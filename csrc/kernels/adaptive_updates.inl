// The updates that divide by a root, Adam and RMSprop, by the vector, for the quicker division.
#pragma once

#include <limits>

#include "arithmetic.h"
#include "kernel_table.h"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

// ε, at least the smallest normal number: as a divisor of zero it may not be zero, nor subnormal for float32's
// divide_any.
template <class T>
T at_least_normal(double epsilon) {
    const T least = std::numeric_limits<T>::min(), e = static_cast<T>(epsilon);
    return e < least ? least : e;
}

// numerator / (√square + ε), for one vector.
template <class T>
struct Ratio {
    Vec<T> numerator, square;
};

// Of every three roots so many come from the divider, which has enough to do with those and three quotients, the others
// from multiply-adds: to the same bits. (Quotients of float32 with AVX-512 do not take the divider, nor do other sets
// compute quickly enough to do without.)
template <class T>
constexpr size_t divider_roots = FUSEDNET_VECTOR_BYTES == 32                                  ? 2
                                 : FUSEDNET_VECTOR_BYTES == 64 && sizeof(T) == sizeof(double) ? 1
                                                                                              : 3;

// For each vector of n elements: `renew(offset, access)` gives its ratio, `step(offset, access, numerator, divisor)`
// takes what that is divided by. (Three take each stage together, or the chain of multiply-adds would hold up the
// divider.)
template <class T, class Renew, class Step>
FUSEDNET_INLINE void for_each_root(size_t n, T epsilon, const Renew& renew, const Step& step) {
    size_t i = 0;
#if FUSEDNET_VECTOR_BYTES >= 32
    if constexpr (divider_roots<T> < 3) {
        constexpr size_t vectors = 3;
        const WholeAccess<T> access;
        for (; i + vectors * lanes<T> <= n; i += vectors * lanes<T>) {
            Ratio<T> ratios[vectors];
            for (size_t v = 0; v < vectors; ++v) ratios[v] = renew(i + v * lanes<T>, access);
            Vec<T> roots[vectors];
            for (size_t v = 0; v < divider_roots<T>; ++v) roots[v] = square_root(ratios[v].square);
            for (size_t v = divider_roots<T>; v < vectors; ++v)
                roots[v] = square_root_without_divider<T>(ratios[v].square);
            for (size_t v = 0; v < vectors; ++v)
                step(i + v * lanes<T>, access, ratios[v].numerator, roots[v] + epsilon);
        }
    }
#endif
    for_each_vector<T>(n - i, [=](size_t j, auto access) FUSEDNET_ALWAYS_INLINE {
        const Ratio<T> ratio = renew(i + j, access);
        step(i + j, access, ratio.numerator, square_root(ratio.square) + epsilon);
    });
}

enum class Decay { none, coupled, decoupled };

template <Decay decay>
struct DecayTag {
    static constexpr Decay value = decay;
};

// body(DecayTag) for Adam's decay of weights.
template <class Body>
FUSEDNET_INLINE void with_decay(const UpdateArguments& a, const Body& body) {
    if (a.rule == UpdateRule::adamw) return body(DecayTag<Decay::decoupled>{});
    if (a.weight_decay == 0) return body(DecayTag<Decay::none>{});
    body(DecayTag<Decay::coupled>{});
}

inline bool is_adam(const UpdateArguments& a) {
    return a.rule == UpdateRule::adam || a.rule == UpdateRule::adamw || a.rule == UpdateRule::inner_adam;
}

// Adam's arithmetic; `rate` is negative but for a decoupled decay. α/(1 − β₁ᵗ)·m/(√(s/c) + ε) with c = 1 − β₂ᵗ is
// taken as α·√c/(1 − β₁ᵗ)·m/(√s + ε·√c): there is a step less to do for each element.
template <Decay decay, class T>
struct AdamStep {
    explicit AdamStep(const UpdateArguments& a) {
        const double correction = __builtin_sqrt(a.correction2);
        rate = static_cast<T>(a.learning_rate * correction / a.correction1);
        if (decay != Decay::decoupled) rate = -rate;
        epsilon = at_least_normal<T>(a.rule == UpdateRule::inner_adam ? a.epsilon : a.epsilon * correction);
        rest1 = static_cast<T>(1.0 - a.beta1);
        beta2 = static_cast<T>(a.beta2);
        rest2 = static_cast<T>(1.0 - a.beta2);
        factor = static_cast<T>(decay == Decay::decoupled ? a.learning_rate * a.weight_decay : a.weight_decay);
    }

    // The moments, renewed by the gradient.
    template <class Access>
    FUSEDNET_INLINE Ratio<T> renew(const T* w, Vec<T> gradient, T* first, T* second, Access access) const {
        const Vec<T> old = access.load(first);
        if (decay == Decay::coupled) gradient = fma(access.load(w), broadcast(factor), gradient);
        const Vec<T> m = fma(gradient - old, broadcast(rest1), old);
        const Vec<T> v = fma(rest2 * gradient, gradient, beta2 * access.load(second));
        access.store(first, m);
        access.store(second, v);
        return {m, v};
    }

    template <class Access>
    FUSEDNET_INLINE void take(T* w, Vec<T> m, Vec<T> divisor, Access access) const {
        const Vec<T> x = access.load(w), direction = divide_any(m, divisor);
        if (decay == Decay::decoupled) {  // a factor of x near 1 would be rounded
            access.store(w, x - fma(x, broadcast(factor), rate * direction));
        } else {
            access.store(w, fma(direction, broadcast(rate), x));
        }
    }

    T rate, epsilon, rest1, beta2, rest2, factor;
};

template <Decay decay, class T>
void adam(AdamStep<decay, T> rule, T* __restrict w, const T* __restrict g, T* __restrict first, T* __restrict second,
          size_t n) {
    const auto renew = [=](size_t i, auto access) FUSEDNET_ALWAYS_INLINE {
        return rule.renew(w + i, access.load(g + i), first + i, second + i, access);
    };
    for_each_root(n, rule.epsilon, renew, [=](size_t i, auto access, Vec<T> m, Vec<T> divisor) FUSEDNET_ALWAYS_INLINE {
        rule.take(w + i, m, divisor, access);
    });
}

// Adam's step of some rows by their gradient, taken by vectors between the steps of a tile that computes the gradient
// of the next rows: the divider is free there, and what has to be fetched has the time. A turn renews the moments of a
// vector, takes the root of the one before and ends the one before that: of one vector all these would have to wait for
// each other, longer than a processor looks ahead.
template <Decay decay, class T>
class AdamBesideTiles {
public:
    explicit AdamBesideTiles(const UpdateArguments& a) : adam_(a) {}

    // n elements, at least three vectors or none, while so many tiles take so many steps each.
    void begin(const OptimizerStep<T>& step, const T* gradient, size_t n, size_t tiles, size_t steps) {
        step_ = step;
        gradient_ = gradient;
        ended_ = 0;
        count_ = n;
        interval_ = never;
        if (n == 0) return;
        renew(0);
        take_root(0);
        renew(lanes<T>);
        interval_ = at_most(interval_between(n / lanes<T>, tiles, steps), most_steps);
    }

    // So many steps go by between two turns.
    size_t interval() const { return interval_; }

    FUSEDNET_INLINE void next() {
        __asm__("" ::: "memory");  // else what is read here may take a register from the tile
        const size_t i = ended_;
        // Of shorter vectors the processor sees in time what comes next. (Beyond these rows lie the next turns'.)
        if constexpr (FUSEDNET_VECTOR_BYTES == cache_line) {
            constexpr size_t ahead = 256;  // elements
            const size_t later = i + ahead;
            __builtin_prefetch(step_.w + later, 1);
            __builtin_prefetch(step_.first + later, 1);
            __builtin_prefetch(step_.second + later, 1);
        }
        end(i);
        take_root(i + lanes<T>);
        renew(i + 2 * lanes<T>);
        ended_ = i + lanes<T>;
        if (i + 4 * lanes<T> > count_) interval_ = never;
        __asm__("" ::: "memory");
    }

    // What is left.
    void finish() {
        if (count_ == 0) return;
        end(ended_);
        take_root(ended_ + lanes<T>);
        end(ended_ + lanes<T>);
        const size_t rest = ended_ + 2 * lanes<T>;
        adam(adam_, step_.w + rest, gradient_ + rest, step_.first + rest, step_.second + rest, count_ - rest);
    }

private:
    // More steps between two turns are slower on a Zen 4, rather than quicker.
    static constexpr size_t most_steps = FUSEDNET_VECTOR_BYTES == 64 ? 4 : 6;

    FUSEDNET_INLINE void renew(size_t i) {
        adam_.renew(step_.w + i, load(gradient_ + i), step_.first + i, step_.second + i, WholeAccess<T>{});
    }
    FUSEDNET_INLINE void take_root(size_t i) { root_ = square_root(load(step_.second + i)); }
    FUSEDNET_INLINE void end(size_t i) {
        adam_.take(step_.w + i, load(step_.first + i), root_ + adam_.epsilon, WholeAccess<T>{});
    }

    Vec<T> root_{};  // of the vector that is the next to end
    AdamStep<decay, T> adam_;
    OptimizerStep<T> step_{};
    const T* gradient_ = nullptr;
    size_t ended_ = 0, count_ = 0;  // elements
    size_t interval_ = never;
};

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

}  // namespace fusednet::FUSEDNET_SET
