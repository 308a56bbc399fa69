// Softmax, its derivative, and the likeliest class.
#pragma once

#include "elementary.inl"
#include "packing.inl"

namespace fusednet::FUSEDNET_SET {

// The largest element of a row; a NaN may be passed over (it comes back through the exponentials).
template <class T>
FUSEDNET_INLINE T row_max(const T* z, size_t n) {
    Vec<T> largest = broadcast(z[0]);
    for_each_vector<T>(n, [&](size_t j, auto access) {
        const Vec<T> v = access.keep(access.load(z + j), z[0]);
        largest = larger(v, largest);
    });
    return max_lanes<T>(largest);
}

// e^(z − max), the rounding error of the difference included: it would be magnified by the exponential. Where that is
// zero the error doesn't count, and may be of any size for large z, or NaN where the difference overflows.
template <class T, class Largest>
FUSEDNET_INLINE Vec<T> shifted_exponential(Vec<T> z, Largest largest) {
    const Vec<T> difference = z - largest, subtracted = z - difference;
    const Vec<T> error = (z - (difference + subtracted)) + (subtracted - largest);
    return exponential<T>(difference, difference > Constants<T>::exp_min ? error : Vec<T>{}).value();
}

// A sum whose rounding errors are added up beside it, after Kahan and Babuška (Neumaier, ZAMM 54, 1974); of vectors,
// lane by lane. An error is exact where the sum is not less than the term, which of terms up to 1 few first sums are.
template <class V>
class CompensatedSum {
public:
    FUSEDNET_INLINE void add(V x) {
        const V next = sum_ + x;
        error_ += x - (next - sum_);
        sum_ = next;
    }
    FUSEDNET_INLINE V value() const { return sum_ + error_; }
    template <class T>
    FUSEDNET_INLINE T total() const {
        return precise_sum_lanes<T, FUSEDNET_VECTOR_BYTES>(sum_, error_);
    }

private:
    V sum_{}, error_{};
};

// Σ e^(z − max) over a row; y receives the terms unless it is null, and may be z.
template <class T>
FUSEDNET_INLINE T shifted_exponentials(const T* z, T* y, size_t n, T largest) {
    CompensatedSum<Vec<T>> sum;
    for_each_vector<T>(n, [&](size_t j, auto access) {
        const Vec<T> e = shifted_exponential<T>(access.load(z + j), largest);
        if (y != nullptr) access.store(y + j, e);
        sum.add(access.keep(e, T(0)));
    });
    return sum.template total<T>();
}

// Rows of so few columns are taken a vector of rows at a time, a lane each: the steps of a row by itself wait for each
// other, and many lanes would have nothing to do.
template <class T>
constexpr size_t few_columns = at_most(16, 2 * lanes<T> - 1);

// Such rows, transposed. Where there are fewer, the last one fills the lanes.
template <class T>
class RowsInLanes {
public:
    // All columns are to be set, or loaded; those up to whole vectors are stored with them, as zeros.
    explicit RowsInLanes(size_t columns) : columns_(columns) {
        for (size_t j = columns; j < whole_vectors<T>(columns); ++j) set(j, Vec<T>{});
    }

    // `room`: elements of each row that may be read, no fewer than columns.
    FUSEDNET_INLINE void load(const T* z, size_t ldz, size_t room, size_t rows) {
        if (are_whole(room, rows)) return transpose_from(z, ldz);
        alignas(Vec<T>) T copies[lanes<T>][most];
        for (size_t i = 0; i < lanes<T>; ++i) {
            const T* const row = z + at_most(i, rows - 1) * ldz;
            for_each_vector<T>(
                columns_, [&](size_t j, auto access) { FUSEDNET_SET::store(copies[i] + j, access.load(row + j)); });
        }
        transpose_from(copies[0], most);
    }

    // Whole vectors or a piece of each row, where the next one leaves room for whole vectors.
    FUSEDNET_INLINE void store(T* y, size_t ldy, size_t rows) const {
        if (are_whole(ldy, rows)) return transpose_to(y, ldy);
        alignas(Vec<T>) T copies[lanes<T>][most];
        transpose_to(copies[0], most);
        for (size_t i = 0; i < rows; ++i) {
            for_each_vector<T>(
                columns_, [&](size_t j, auto access) { access.store(y + i * ldy + j, access.load(copies[i] + j)); });
        }
    }

    size_t columns() const { return columns_; }
    FUSEDNET_INLINE Vec<T> operator[](size_t j) const { return FUSEDNET_SET::load(column_[j]); }
    FUSEDNET_INLINE void set(size_t j, Vec<T> v) { FUSEDNET_SET::store(column_[j], v); }

private:
    static constexpr size_t most = 16;  // columns, in whole vectors

    // Whether there are as many rows as lanes, with room for whole vectors.
    bool are_whole(size_t room, size_t rows) const { return rows == lanes<T> && room >= whole_vectors<T>(columns_); }

    FUSEDNET_INLINE void transpose_from(const T* z, size_t ldz) {
        for (size_t j = 0; j < columns_; j += block_columns<T>) transpose_block(z + j, ldz, column_[j], lanes<T>);
    }
    FUSEDNET_INLINE void transpose_to(T* y, size_t ldy) const {
        if (columns_ <= piece<T>) return transpose_pieces_to(y, ldy);
        for (size_t j = 0; j < columns_; j += lanes<T>) {
            for (size_t i = 0; i < lanes<T>; i += block_columns<T>)
                transpose_block(column_[j] + i, lanes<T>, y + i * ldy + j, ldy);
        }
    }

    // No more than a piece of each row.
    FUSEDNET_INLINE void transpose_pieces_to(T* y, size_t ldy) const {
        Vec<T> r[piece<T>];
        for (size_t j = 0; j < piece<T>; ++j) r[j] = (*this)[j];
        transpose_pieces<T>(r);
        alignas(Vec<T>) T transposed[piece<T>][lanes<T>];
        for (size_t j = 0; j < piece<T>; ++j) FUSEDNET_SET::store(transposed[j], r[j]);
        for (size_t i = 0; i < lanes<T>; ++i)
            __builtin_memcpy(y + i * ldy, row_of_pieces(transposed, i), piece<T> * sizeof(T));
    }

    const size_t columns_;
    alignas(Vec<T>) T column_[most][lanes<T>];
};

template <class T>
FUSEDNET_INLINE Vec<T> row_max(const RowsInLanes<T>& z) {
    Vec<T> largest = z[0];
    for (size_t j = 1; j < z.columns(); ++j) largest = larger(z[j], largest);
    return largest;
}

// As above, in place.
template <class T>
FUSEDNET_INLINE Vec<T> shifted_exponentials(RowsInLanes<T>& z, Vec<T> largest) {
    CompensatedSum<Vec<T>> sum;
    for (size_t j = 0; j < z.columns(); ++j) {
        const Vec<T> e = shifted_exponential<T>(z[j], largest);
        z.set(j, e);
        sum.add(e);
    }
    return sum.value();
}

template <class T>
void softmax_in_lanes(const T* z, size_t ldz, T* y, size_t ldy, size_t rows, size_t columns) {
    RowsInLanes<T> p(columns);
    for (size_t i = 0; i < rows; i += lanes<T>) {
        const size_t count = at_most(rows - i, lanes<T>);
        p.load(z + i * ldz, ldz, ldz, count);
        const Vec<T> sum = shifted_exponentials(p, row_max(p));
        for (size_t j = 0; j < columns; ++j) p.set(j, divide(p[j], sum));
        p.store(y + i * ldy, ldy, count);
    }
}

// One row of few columns, to the bits that it has among others.
template <class T>
void softmax_of_one(const T* z, T* y, size_t columns) {
    const T largest = row_max(z, columns);
    T e[whole_vectors<T>(few_columns<T>)];
    for_each_vector<T>(
        columns, [&](size_t j, auto access) { store(e + j, shifted_exponential<T>(access.load(z + j), largest)); });
    CompensatedSum<T> sum;
    for (size_t j = 0; j < columns; ++j) sum.add(e[j]);
    for_each_vector<T>(
        columns, [&](size_t j, auto access) { access.store(y + j, divide(load(e + j), broadcast(sum.value()))); });
}

template <class T>
void softmax(const T* z, size_t ldz, T* y, size_t ldy, size_t rows, size_t columns) {
    if (columns <= few_columns<T> && rows == 1) return softmax_of_one(z, y, columns);
    if (columns <= few_columns<T>) return softmax_in_lanes(z, ldz, y, ldy, rows, columns);
    for (size_t i = 0; i < rows; ++i, z += ldz, y += ldy) {
        const T sum = shifted_exponentials(z, y, columns, row_max(z, columns));
        for_each_vector<T>(columns, [&](size_t j, auto access) { access.store(y + j, access.load(y + j) / sum); });
    }
}

template <class T>
void softmax_backward(const T* p, size_t ldp, const T* g, size_t ldg, T* out, size_t ldo, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; ++i, p += ldp, g += ldg, out += ldo) {
        Vec<T> dot{};
        for_each_vector<T>(columns,
                           [&](size_t j, auto access) { dot = fma(access.load(p + j), access.load(g + j), dot); });
        const T inner = sum_lanes<T>(dot);
        for_each_vector<T>(columns, [&](size_t j, auto access) {
            access.store(out + j, access.load(p + j) * (access.load(g + j) - inner));
        });
    }
}

// The first of a row's largest elements; the first of all where that is NaN. (Others that are NaN are passed over.)
template <class T>
size_t argmax_of_one(const T* z, size_t columns) {
    const Vec<T> largest = broadcast(row_max(z, columns));
    const Ints<T> none = broadcast_int<T>(static_cast<Int<T>>(columns));
    Ints<T> lane{}, first = none;  // of those that are in this lane
    for (size_t i = 0; i < lanes<T>; ++i) lane[i] = static_cast<Int<T>>(i);
    for_each_vector<T>(columns, [&](size_t j, auto access) {
        const Ints<T> index = lane + static_cast<Int<T>>(j);
        first = access.load(z + j) == largest && first == none ? index : first;
    });
    auto least = static_cast<Int<T>>(columns);
    for (size_t i = 0; i < lanes<T>; ++i) least = first[i] < least ? first[i] : least;
    return static_cast<size_t>(least) < columns ? static_cast<size_t>(least) : 0;
}

// The same of rows of few columns.
template <class T>
void argmax_in_lanes(const T* z, size_t ldz, std::int64_t* out, size_t rows, size_t columns) {
    RowsInLanes<T> row(columns);
    for (size_t i = 0; i < rows; i += lanes<T>) {
        const size_t count = at_most(rows - i, lanes<T>);
        row.load(z + i * ldz, ldz, ldz, count);
        const Vec<T> largest = row_max(row);
        Ints<T> first{};
        for (size_t j = columns; j-- > 0;) first = row[j] == largest ? broadcast_int<T>(static_cast<Int<T>>(j)) : first;
        for (size_t k = 0; k < count; ++k) out[i + k] = first[k];
    }
}

template <class T>
void argmax(const T* z, size_t ldz, std::int64_t* out, size_t rows, size_t columns) {
    if (columns <= few_columns<T> && rows > 1) return argmax_in_lanes(z, ldz, out, rows, columns);
    for (size_t i = 0; i < rows; ++i) out[i] = static_cast<std::int64_t>(argmax_of_one(z + i * ldz, columns));
}

}  // namespace fusednet::FUSEDNET_SET
