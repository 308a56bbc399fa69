// Activations and their derivatives.
#pragma once

#include "elementary.inl"
#include "kernel_table.h"
#include "shuffles.h"

namespace fusednet::FUSEDNET_SET {

// f(z); where the training forward stores f'(z), `derivative` receives it.
template <Activation f, class T>
FUSEDNET_INLINE Vec<T> activate(Vec<T> z, [[maybe_unused]] Vec<T>& derivative) {
    using C = Constants<T>;
    if constexpr (f == Activation::sigmoid) {
        return sigmoid<T>(z);
    } else if constexpr (f == Activation::tanh) {
        return tanh<T>(z);
    } else if constexpr (f == Activation::relu) {
        return clamp_below(z, T(0));
    } else if constexpr (f == Activation::leaky_relu) {
        return z > T(0) ? z : z * T(0.01);
    } else if constexpr (f == Activation::elu) {
        return z > T(0) ? z : expm1_bounded<T>(clamp_above(clamp_below(z, C::expm1_saturation), T(0)));
    } else if constexpr (f == Activation::gelu) {  // z·Φ(z); the clamp turns −∞ · 0 into its limit
        const Normal<T> n = normal<T>(z);
        const Vec<T> bounded = clamp_below(z, -C::normal_limit);
        derivative = fma(clamp_above(bounded, C::normal_limit), n.density, n.cumulative.value());
        return bounded * n.cumulative.first * n.cumulative.second;
    } else if constexpr (f == Activation::silu) {
        const Logistic<T> s = logistic<T>(z);
        const Vec<T> bounded = clamp_below(z, C::silu_min);
        derivative = fma(clamp_above(bounded, -C::silu_min), s.complement, broadcast(T(1))) * s.sigmoid.value();
        return bounded * s.sigmoid.first * s.sigmoid.second;
    } else if constexpr (f == Activation::softplus) {  // max(z, 0) + log(1 + e^−|z|)
        const Vec<T> t = exp<T>(-absolute<T>(z));
        derivative = divide(z < T(0) ? t : broadcast(T(1)), t + T(1));
        return clamp_below(z, T(0)) + log1p_unit<T>(t);
    } else if constexpr (f == Activation::exp) {
        return exp<T>(z);
    } else {
        return z;
    }
}

// g·f'(z), from the output a = f(z), or from a stored f'(z). V is a vector of T, or half of one.
template <Activation f, class T, class V>
FUSEDNET_INLINE V times_derivative(V g, V a) {
    if constexpr (f == Activation::sigmoid) {
        return g * (a * (T(1) - a));
    } else if constexpr (f == Activation::tanh) {
        return g * (T(1) - a * a);
    } else if constexpr (f == Activation::relu) {
        return a > T(0) ? g : V{};
    } else if constexpr (f == Activation::leaky_relu) {
        return a > T(0) ? g : g * T(0.01);
    } else if constexpr (f == Activation::elu) {
        return a > T(0) ? g : g * (a + T(1));
    } else if constexpr (f == Activation::exp || stores_derivative(f)) {
        return g * a;
    } else {
        return g;
    }
}

template <Activation f>
struct ActivationTag {
    static constexpr Activation value = f;
};

// Calls body(ActivationTag<f>{}): the branch is taken once, outside the loops.
template <class Body>
FUSEDNET_INLINE void with_activation(Activation f, const Body& body) {
    switch (f) {
        case Activation::sigmoid: return body(ActivationTag<Activation::sigmoid>{});
        case Activation::tanh: return body(ActivationTag<Activation::tanh>{});
        case Activation::relu: return body(ActivationTag<Activation::relu>{});
        case Activation::leaky_relu: return body(ActivationTag<Activation::leaky_relu>{});
        case Activation::elu: return body(ActivationTag<Activation::elu>{});
        case Activation::gelu: return body(ActivationTag<Activation::gelu>{});
        case Activation::silu: return body(ActivationTag<Activation::silu>{});
        case Activation::softplus: return body(ActivationTag<Activation::softplus>{});
        case Activation::exp: return body(ActivationTag<Activation::exp>{});
        case Activation::identity:
        case Activation::softmax: return body(ActivationTag<Activation::identity>{});
    }
}

// Two rows of half a vector or less as one vector. (Rows have room for more.)
template <class T>
struct PairAccess {
    size_t ld;
    FUSEDNET_INLINE Vec<T> load(const T* p) const { return load_halves(p, ld); }
    FUSEDNET_INLINE void store(T* p, Vec<T> v) const { store_halves(p, ld, v); }
};

// body(offset, access) for the vectors of a block of rows that share one leading dimension: one column of vectors after
// the other, so that the constants of the body are loaded once a column and not once a row. The vectors of a single row
// are such a column. Rows of half a vector go by pairs.
template <class T, class Body>
FUSEDNET_INLINE void for_each_vector_by_columns(size_t ld, size_t rows, size_t columns, const Body& body) {
    if constexpr (halves) {
        if (columns <= lanes<T> / 2 && ld >= lanes<T>) {
            for (size_t i = 0, offset = 0; i + 2 <= rows; i += 2, offset += 2 * ld) body(offset, PairAccess<T>{ld});
            if (rows % 2 != 0) body((rows - 1) * ld, PartialAccess<T>{columns});
            return;
        }
    }
    const bool single = rows == 1;
    const size_t whole = columns / lanes<T> * lanes<T>, step = single ? lanes<T> : ld;
    const size_t count = single ? columns / lanes<T> : rows;
    for (size_t j = 0; j < (single && whole > 0 ? lanes<T> : whole); j += lanes<T>) {
        for (size_t i = 0, offset = j; i < count; ++i, offset += step) body(offset, WholeAccess<T>{});
    }
    if (whole == columns) return;
    const PartialAccess<T> access{columns - whole};
    for (size_t i = 0, offset = whole; i < rows; ++i, offset += ld) body(offset, access);
}

// y = f(z) over a block of rows; derivative = f'(z) where it is not null.
template <class T>
FUSEDNET_INLINE void activate_block(Activation f, const T* z, T* y, T* derivative, size_t ld, size_t rows,
                                    size_t columns) {
    with_activation(f, [&](auto tag) {
        for_each_vector_by_columns<T>(ld, rows, columns, [&](size_t offset, auto access) {
            Vec<T> d = broadcast(T(1));
            const Vec<T> a = activate<tag.value, T>(access.load(z + offset), d);
            if (derivative != nullptr) {
                if constexpr (!stores_derivative(tag.value)) d = times_derivative<tag.value, T>(d, a);
                access.store(derivative + offset, d);
            }
            access.store(y + offset, a);
        });
    });
}

template <class T>
void activation(Activation f, const T* z, T* y, T* derivative, size_t n) {
    activate_block(f, z, y, derivative, n, 1, n);
}

// g = upstream(row, column, access) ∘ f'(saved) ∘ mask over a block of rows; mask may be null.
template <class T, class Upstream>
FUSEDNET_INLINE void differentiate_block(Activation f, const T* saved, const T* mask, size_t lds, T* g, size_t ldg,
                                         size_t rows, size_t columns, const Upstream& upstream) {
    with_activation(f, [&](auto tag) {
        for_each_vector<T>(columns, [&](size_t j, auto access) {
            for (size_t i = 0; i < rows; ++i) {
                Vec<T> v = times_derivative<tag.value, T>(upstream(i, j, access), access.load(saved + i * lds + j));
                if (mask != nullptr) v *= access.load(mask + i * lds + j);
                access.store(g + i * ldg + j, v);
            }
        });
    });
}

template <class T>
void activation_backward(Activation f, const T* saved, const T* g, T* out, size_t n) {
    with_activation(f, [=](auto tag) {
        for_each_vector<T>(n, [=](size_t i, auto access) {
            access.store(out + i, times_derivative<tag.value, T>(access.load(g + i), access.load(saved + i)));
        });
    });
}

}  // namespace fusednet::FUSEDNET_SET
