// What the tests share: the kernel sets to try, random numbers, guarded matrices, and errors in units of the element
// type's precision.
#pragma once

#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "guarded.h"
#include "kernels/dispatch.h"

namespace fusednet::testing {

// Under an emulator or a sanitizer the tests take fewer samples.
#if defined(FUSEDNET_TESTS_QUICK)
constexpr std::size_t effort = 1;
#else
constexpr std::size_t effort = 16;
#endif

using Sizes = std::vector<std::size_t>;

template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;  // for references

template <class T>
constexpr T epsilon = std::numeric_limits<T>::epsilon();
template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T quiet_nan = std::numeric_limits<T>::quiet_NaN();

template <class T>
const KernelTable<T>& table_of(const KernelSet& set) {
    if constexpr (sizeof(T) == 4) {
        return set.f32;
    } else {
        return set.f64;
    }
}

// body(table) for every kernel set that this processor can run.
template <class T, class Body>
void for_each_table(Body body) {
    for (const std::string& name : available_kernel_sets()) {
        CAPTURE(name);
        body(table_of<T>(*find_kernels(name)));
    }
}

// The same numbers with every standard library, unlike its distributions.
class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    double uniform(double low, double high) {
        return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
    }
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }

    template <class T>
    std::vector<T> vector(std::size_t n, double low, double high) {
        std::vector<T> v(n);
        for (T& x : v) x = static_cast<T>(uniform(low, high));
        return v;
    }

private:
    std::mt19937_64 engine_;
};

constexpr std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

// A matrix at an address that is aligned for its elements only. A kernel may touch `room` elements of each row (what it
// may not even read is NaN); it may write them only where the matrix is an output. An operand's memory ends with its
// last row, and the process with a read beyond it; an output's goes on, so that a write is seen by untouched().
template <class T>
class Matrix {
public:
    enum class Role { operand, output };

    Matrix(Role role, std::size_t rows, std::size_t columns, std::size_t room, std::size_t ld)
        : rows_(rows),
          columns_(columns),
          room_(room),
          ld_(ld),
          filler_(role == Role::operand ? 0xff : 0xa5),
          bytes_(front + ((rows - 1) * ld + room) * sizeof(T) + (role == Role::operand ? 0 : back), filler_) {}

    T* data() { return reinterpret_cast<T*>(bytes_.data() + front); }
    const T* data() const { return reinterpret_cast<const T*>(bytes_.data() + front); }
    T& operator()(std::size_t i, std::size_t j) { return data()[i * ld_ + j]; }
    const T& operator()(std::size_t i, std::size_t j) const { return data()[i * ld_ + j]; }
    std::size_t rows() const { return rows_; }
    std::size_t columns() const { return columns_; }
    std::size_t ld() const { return ld_; }

    Matrix& fill(Random& random, double low = -1, double high = 1) {
        for (std::size_t i = 0; i < rows_; ++i) {
            for (std::size_t j = 0; j < columns_; ++j) (*this)(i, j) = static_cast<T>(random.uniform(low, high));
        }
        return *this;
    }

    // Whether every byte outside the rows' room is as it was made.
    bool untouched() const {
        const auto blank = [this](std::size_t begin, std::size_t end) {
            return std::all_of(bytes_.data() + begin, bytes_.data() + end, [this](auto b) { return b == filler_; });
        };
        const std::size_t row = room_ * sizeof(T), step = ld_ * sizeof(T);
        std::size_t end = 0;  // of the row before
        for (std::size_t i = 0; i < rows_; ++i) {
            const std::size_t begin = front + i * step;
            if (!blank(end, begin)) return false;
            end = begin + row;
        }
        return blank(end, bytes_.size());
    }

    // Whether the columns agree to the bit (any NaN equals any other).
    bool operator==(const Matrix& other) const {
        for (std::size_t i = 0; i < rows_; ++i) {
            if (std::memcmp(&(*this)(i, 0), &other(i, 0), columns_ * sizeof(T)) == 0) continue;
            for (std::size_t j = 0; j < columns_; ++j) {
                const T a = (*this)(i, j), b = other(i, j);
                if (std::memcmp(&a, &b, sizeof a) != 0 && !(std::isnan(a) && std::isnan(b))) return false;
            }
        }
        return true;
    }

private:
    static constexpr std::size_t front = 128 + sizeof(T), back = 256;

    std::size_t rows_, columns_, room_, ld_;
    unsigned char filler_;
    GuardedBytes bytes_;
};

// What a kernel reads: exactly (rows, columns), `gap` elements between the rows.
template <class T>
Matrix<T> operand(std::size_t rows, std::size_t columns, std::size_t gap = 0) {
    return {Matrix<T>::Role::operand, rows, columns, columns, columns + gap};
}

// What a kernel writes: exactly (rows, columns).
template <class T>
Matrix<T> output(std::size_t rows, std::size_t columns, std::size_t gap = 0) {
    return {Matrix<T>::Role::output, rows, columns, columns, columns + gap};
}

// The same with rows that have room for whole vectors, as in a workspace. A single column may be contiguous.
template <class T>
Matrix<T> padded(typename Matrix<T>::Role role, std::size_t rows, std::size_t columns, std::size_t lanes,
                 std::size_t gap = 0) {
    const std::size_t room = columns == 1 && gap == 0 ? 1 : round_up(columns, lanes);
    return {role, rows, columns, room, room + gap};
}

// Elements between rows that leave no room for whole vectors: one, if there can be any.
constexpr std::size_t tight_gap(std::size_t columns, std::size_t lanes) {
    return columns + 1 < round_up(columns, lanes) ? 1 : 0;
}

// `to`, which receives the elements of a matrix of the same shape.
template <class T>
Matrix<T> copied(const Matrix<T>& from, Matrix<T> to) {
    for (std::size_t i = 0; i < from.rows(); ++i) std::copy_n(&from(i, 0), from.columns(), &to(i, 0));
    return to;
}

// |value − reference| in units in the last place of T at the reference. What rounds to infinity may be infinite.
template <class T, class R>
double ulps(T value, R reference) {
    if (std::isnan(reference)) return std::isnan(value) ? 0 : infinity<double>;
    if (std::isnan(value)) return infinity<double>;
    constexpr int digits = std::numeric_limits<T>::digits, lowest = std::numeric_limits<T>::min_exponent;
    const R limit = std::ldexp(R(1), std::numeric_limits<T>::max_exponent);  // the number after the largest
    const R v = std::clamp(static_cast<R>(value), -limit, limit), r = std::clamp(reference, -limit, limit);
    int exponent = lowest;
    if (r != 0) std::frexp(std::min(std::abs(r), static_cast<R>(std::numeric_limits<T>::max())), &exponent);
    return static_cast<double>(std::ldexp(std::abs(v - r), digits - std::max(exponent, lowest)));
}

}  // namespace fusednet::testing
