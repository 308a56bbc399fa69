// The coefficient of determination.
#pragma once

#include "core/matrix_view.h"

namespace fusednet {

// R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², averaged over the columns. As in scikit-learn a constant y gives 1 where it is
// met exactly, else 0, and a single row NaN. Without weights (of shape (n, 1)) each row counts once.
double r2(const InputMatrix& prediction, const InputMatrix& target, const InputMatrix& weight);

}  // namespace fusednet
