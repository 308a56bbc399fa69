// Losses: value and gradient in one pass. A single-column prediction is contiguous and is treated as one row, with a
// weight per element.
#pragma once

#include "activations.inl"
#include "softmax.inl"

namespace fusednet::FUSEDNET_SET {

// One element's loss and its derivative by the prediction.
template <class T>
struct Term {
    Vec<T> value, slope;
};

template <Loss loss, class T>
FUSEDNET_INLINE Term<T> loss_term(Vec<T> p, Vec<T> t, [[maybe_unused]] T parameter) {
    const Vec<T> e = p - t;
    if constexpr (loss == Loss::mae) {
        const Vec<T> sign = e > T(0) ? broadcast(T(1)) : (e < T(0) ? broadcast(T(-1)) : e);
        return {absolute<T>(e), sign};
    } else if constexpr (loss == Loss::huber) {
        const Vec<T> size = absolute<T>(e);
        const Vec<T> clipped = clamp_below(clamp_above(e, parameter), -parameter);
        return {size > parameter ? (size - T(0.5) * parameter) * parameter : e * e * T(0.5), clipped};
    } else if constexpr (loss == Loss::quantile) {  // q·(t − p) below the target, (1 − q)·(p − t) above it
        const Vec<T> slope = e > T(0) ? broadcast(T(1) - parameter) : (e < T(0) ? broadcast(-parameter) : e);
        return {e * slope, slope};
    } else if constexpr (loss == Loss::poisson) {  // half the deviance: t·log(t/p) − t + p
        const Vec<T> log_term = t * natural_logarithm<T>(t / p), nan = broadcast(static_cast<T>(__builtin_nan("")));
        const Vec<T> at_zero = p < T(0) ? nan : p;  // as the others, there is none below
        return {(t == T(0) ? at_zero : log_term + e), t == T(0) ? broadcast(T(1)) : e / p};
    } else if constexpr (loss == Loss::log_poisson) {  // the same by z = log p, which p = 0 does not break
        const Vec<T> rate = exp<T>(p), log_term = t * (natural_logarithm<T>(t) - p);
        return {(t == T(0) ? rate : log_term + (rate - t)), rate - t};
    } else if constexpr (loss == Loss::binary_cross_entropy) {
        // By the logit p: softplus(p) − t·p, without cancellation.
        const Vec<T> tail = exp<T>(-absolute<T>(p));
        return {clamp_below(p, T(0)) - t * p + log1p_unit<T>(tail), sigmoid<T>(p) - t};
    } else {  // mse and half_mse: the factor 1/2 is the caller's
        return {e * e, e * T(2)};
    }
}

// The least and the largest cross-entropy: those of the probabilities 1 − clip and clip.
struct Limits {
    double low = 0, high = __builtin_inf();

    explicit Limits(double clip) {
        if (clip > 0) low = -__builtin_log1p(-clip), high = -__builtin_log(clip);
    }
};

// log(1 − p) with the rounding of p = 1/(1 + e^−z), which shows where z is large: scikit-learn's way, as clipping is.
template <class T>
FUSEDNET_INLINE Vec<T> round_probability(Vec<T> value, Vec<T> z, Vec<T> target) {
    const Vec<T> rest = T(1) - T(1) / (T(1) + exp<T>(-z));
    for (size_t i = 0; i < lanes<T>; ++i) {
        if (z[i] > T(8) && target[i] == T(0)) value[i] = static_cast<T>(-__builtin_log(static_cast<double>(rest[i])));
    }
    return value;
}

// `factor` turns the sum over a row's outputs into the sample's loss.
template <Loss loss, class T>
double elementwise_loss(const LossArguments<T>& a, double factor) {
    const bool single = a.columns == 1;
    const size_t rows = single ? 1 : a.rows, columns = single ? a.rows : a.columns;
    const T parameter = static_cast<T>(a.parameter);
    const T slope_factor = static_cast<T>(a.scale * factor);
    const Limits limits(loss == Loss::binary_cross_entropy ? a.clip : 0.0);
    const T lowest = static_cast<T>(limits.low), highest = static_cast<T>(limits.high);
    constexpr size_t block = 64 * lanes<T>;  // summed in T, then in double
    double total = 0;
    for (size_t i = 0; i < rows; ++i) {
        const T row_weight = a.weight != nullptr && !single ? a.weight[i] : T(1);
        for (size_t j0 = 0; j0 < columns; j0 += block) {
            const size_t count = columns - j0 < block ? columns - j0 : block;
            const T* p = a.prediction + i * a.ldp + j0;
            const T* t = a.target + i * a.ldt + j0;
            const T* w = a.weight != nullptr && single ? a.weight + j0 : nullptr;
            T* gradient = a.gradient != nullptr ? a.gradient + i * a.ldg + j0 : nullptr;
            Vec<T> sum{};
            for_each_vector<T>(count, [&](size_t j, auto access) {
                const Vec<T> prediction = access.load(p + j), target = access.load(t + j);
                Term<T> term = loss_term<loss, T>(prediction, target, parameter);
                if constexpr (loss == Loss::binary_cross_entropy) {
                    if (a.clip > 0) term.value = round_probability<T>(term.value, prediction, target);
                    term.value = clamp_below(clamp_above(term.value, highest), lowest);
                }
                const Vec<T> weight = w != nullptr ? access.load(w + j) : broadcast(row_weight);
                sum += access.keep(term.value * weight, T(0));
                if (gradient != nullptr) access.store(gradient + j, term.slope * weight * slope_factor);
            });
            total += static_cast<double>(sum_lanes<T>(sum));
        }
    }
    return total * factor;
}

// What some rows' cross-entropies are made of: Lᵢ = Σt · log Σ e^(z − max) − Σ t·(z − max).
template <class T>
struct CrossEntropyRows {
    static constexpr size_t most = 32;
    T sum[most], mass[most], dot[most];
};

// The labels' targets, in lanes.
template <class T>
FUSEDNET_INLINE void one_hot(const std::int32_t* label, size_t rows, RowsInLanes<T>& t) {
    Int<T> index[lanes<T>] = {};
    for (size_t i = 0; i < rows; ++i) index[i] = label[i];
    const auto labels = load<Int<T>, Ints<T>>(index);
    for (size_t j = 0; j < t.columns(); ++j) {
        t.set(j, labels == static_cast<Int<T>>(j) ? broadcast(T(1)) : Vec<T>{});
    }
}

// Of rows of few columns; writes their gradient.
template <class T>
void cross_entropy_in_lanes(const LossArguments<T>& a, CrossEntropyRows<T>& r) {
    RowsInLanes<T> z(a.columns), t(a.columns);
    for (size_t i = 0; i < a.rows; i += lanes<T>) {
        const size_t rows = at_most(a.rows - i, lanes<T>);
        z.load(a.prediction + i * a.ldp, a.ldp, a.ldp, rows);
        if (a.target != nullptr) {
            t.load(a.target + i * a.ldt, a.ldt, a.columns, rows);
        } else {
            one_hot(a.label + i, rows, t);
        }
        const Vec<T> largest = row_max(z);
        Vec<T> mass{}, dot{};
        for (size_t j = 0; j < a.columns; ++j) {
            mass += t[j];
            dot += t[j] == T(0) ? Vec<T>{} : t[j] * (z[j] - largest);
        }
        const Vec<T> sum = shifted_exponentials(z, largest);
        store(r.sum + i, sum);
        store(r.mass + i, mass);
        store(r.dot + i, dot);
        if (a.gradient == nullptr) continue;
        Vec<T> factor = broadcast(static_cast<T>(a.scale));
        if (a.weight != nullptr) factor *= load_partial(a.weight + i, rows);
        const Vec<T> probability_factor = divide(factor * mass, sum);
        for (size_t j = 0; j < a.columns; ++j) z.set(j, z[j] * probability_factor - t[j] * factor);
        z.store(a.gradient + i * a.ldg, a.ldg, rows);
    }
}

// Pass by pass over the rows: the steps of one row wait for each other, those of different rows need not.
template <class T>
void cross_entropy_by_rows(const LossArguments<T>& a, CrossEntropyRows<T>& r) {
    T largest[CrossEntropyRows<T>::most];
    const auto z = [&](size_t i) { return a.prediction + i * a.ldp; };
    const auto t = [&](size_t i) { return a.target + i * a.ldt; };
    const auto g = [&](size_t i) { return a.gradient != nullptr ? a.gradient + i * a.ldg : nullptr; };
    const auto weight = [&](size_t i) { return a.weight != nullptr ? a.weight[i] : T(1); };
    for (size_t i = 0; i < a.rows; ++i) largest[i] = row_max(z(i), a.columns);
    for (size_t i = 0; i < a.rows; ++i) {  // before z is overwritten
        if (a.target == nullptr) {
            r.mass[i] = T(1);
            r.dot[i] = z(i)[a.label[i]] - largest[i];
            continue;
        }
        Vec<T> mass{}, dot{};
        for_each_vector<T>(a.columns, [&](size_t j, auto access) {
            const Vec<T> v = access.load(t(i) + j);
            mass += v;
            dot += v == T(0) ? Vec<T>{} : v * (access.load(z(i) + j) - largest[i]);
        });
        r.mass[i] = sum_lanes<T>(mass);
        r.dot[i] = sum_lanes<T>(dot);
    }
    for (size_t i = 0; i < a.rows; ++i) r.sum[i] = shifted_exponentials(z(i), g(i), a.columns, largest[i]);
    for (size_t i = 0; i < a.rows && a.gradient != nullptr; ++i) {
        const T factor = static_cast<T>(a.scale) * weight(i), probability_factor = factor * r.mass[i] / r.sum[i];
        for_each_vector<T>(a.columns, [&](size_t j, auto access) {
            Vec<T> v = access.load(g(i) + j) * probability_factor;
            if (a.target != nullptr) v -= access.load(t(i) + j) * factor;
            access.store(g(i) + j, v);
        });
    }
    // Apart, for no load can be served by a masked store before that is in the cache.
    for (size_t i = 0; i < a.rows && a.gradient != nullptr && a.target == nullptr; ++i) {
        g(i)[a.label[i]] -= static_cast<T>(a.scale) * weight(i);
    }
}

// From logits: Lᵢ = Σⱼ tⱼ·(log Σ e^z − zⱼ) and ∂Lᵢ/∂z = p·Σt − t, with t one-hot where labels are given.
template <class T>
double cross_entropy(const LossArguments<T>& a) {
    const Limits limits(a.clip);
    const T lowest = static_cast<T>(limits.low), highest = static_cast<T>(limits.high);
    constexpr size_t chains = 4;  // of additions in double, as the sum may be too large for T where logits are large
    double totals[chains] = {};
    CrossEntropyRows<T> r;
    for (size_t first = 0; first < a.rows; first += r.most) {
        const LossArguments<T> part = rows_of(a, first, at_most(a.rows - first, r.most));
        if (a.columns <= few_columns<T> && part.rows > 1) {
            cross_entropy_in_lanes(part, r);
        } else {
            cross_entropy_by_rows(part, r);
        }
        T value[r.most];
        for_each_vector<T>(part.rows, [&](size_t i, auto access) {
            const Vec<T> log_sum = natural_logarithm<T>(access.load(r.sum + i));
            const Vec<T> exact = log_sum * access.load(r.mass + i) - access.load(r.dot + i);
            store(value + i, clamp_below(clamp_above(exact, highest), lowest));
        });
        const auto weighted = [&](size_t i) {
            return static_cast<double>(value[i]) * static_cast<double>(part.weight != nullptr ? part.weight[i] : T(1));
        };
        size_t i = 0;
        for (; i + chains <= part.rows; i += chains) {
            for (size_t c = 0; c < chains; ++c) totals[c] += weighted(i + c);
        }
        for (; i < part.rows; ++i) totals[0] += weighted(i);
    }
    return (totals[0] + totals[1]) + (totals[2] + totals[3]);
}

template <class T>
double loss(const LossArguments<T>& a) {
    const double mean = 1.0 / static_cast<double>(a.columns);
    switch (a.loss) {
        case Loss::mse: return elementwise_loss<Loss::mse, T>(a, mean);
        case Loss::half_mse: return elementwise_loss<Loss::mse, T>(a, 0.5);
        case Loss::mae: return elementwise_loss<Loss::mae, T>(a, mean);
        case Loss::huber: return elementwise_loss<Loss::huber, T>(a, mean);
        case Loss::quantile: return elementwise_loss<Loss::quantile, T>(a, mean);
        case Loss::poisson: return elementwise_loss<Loss::poisson, T>(a, mean);
        case Loss::log_poisson: return elementwise_loss<Loss::log_poisson, T>(a, mean);
        case Loss::binary_cross_entropy: return elementwise_loss<Loss::binary_cross_entropy, T>(a, mean);
        case Loss::cross_entropy: return cross_entropy(a);
        case Loss::custom: break;  // the core's own business
    }
    return 0;
}

}  // namespace fusednet::FUSEDNET_SET
