// Of predictions: how good they are, and how much several networks' differ.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"

namespace fusednet {

// R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², averaged over the columns. As in scikit-learn a constant y gives 1 where it is
// met exactly, else 0, and a single row NaN. Without weights (of shape (n, 1)) each row counts once.
double r2(const InputMatrix& prediction, const InputMatrix& target, const InputMatrix& weight);

// Means, and sums of squared distances from them, of values that come one after the other, by Welford's recurrence.
struct Moments {
    double* count;  // how often each row has come
    double* mean;   // (rows, columns), as are the squares
    double* squares;
    std::size_t rows, columns;
};

// Takes in m rows of values, those that `index` lists or all in turn.
template <class T>
void add_values(const Moments&, const T* values, const std::int64_t* index, std::size_t m);

}  // namespace fusednet
