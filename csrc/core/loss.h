// The losses by name, what they expect, and the batch's mean.
#pragma once

#include <functional>
#include <string>

#include "core/gather.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "kernels/kernel_table.h"

namespace fusednet {

Loss loss_from_name(const std::string&);  // throws std::invalid_argument listing the known names

// Losses that work on logits: the training forward leaves the output activation out.
constexpr bool takes_logits(Loss loss) {
    return loss == Loss::cross_entropy || loss == Loss::binary_cross_entropy || loss == Loss::log_poisson;
}

// Factors on the mean over the outputs (or, half_mse, the sum) that a kernel gives: scikit-learn's conventions.
struct LossFactors {
    double value = 1, gradient = 1;
};
LossFactors scikit_learn_factors(Loss, std::size_t outputs);

// The selected targets as T; throws where one is not finite, or not in the loss's domain: [0, 1] for probabilities,
// [0, ∞) for counts.
template <class T>
void gather_targets(const InputMatrix& y, const RowSelection&, T* out, std::size_t ldo, Loss, const Team&);

// The kernel's sum over a batch, by chunks of rows that depend on the shape alone and are added in order: the same
// bits for any team, and as the sum of its blocks' (block_count). `partial` has room for a double a row.
template <class T>
double batch_loss(const LossArguments<T>&, double* partial, const Team&);

// A loss of the user's: returns its value for the batch and fills the gradient by the prediction, if there is a place
// for it.
template <class T>
using CustomLoss =
    std::function<double(MatrixView<const T> prediction, MatrixView<const T> target, MatrixView<T> gradient)>;

}  // namespace fusednet
