// The losses by name, what they expect, and the batch's mean.
#pragma once

#include <functional>
#include <limits>
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

// The targets that a loss is defined for: [0, 1] for probabilities, [0, ∞) for counts. Null: all finite ones.
inline const Range* target_range(Loss loss) {
    static constexpr Range probability{0, 1}, count{0, std::numeric_limits<double>::infinity()};
    if (loss == Loss::cross_entropy || loss == Loss::binary_cross_entropy) return &probability;
    return loss == Loss::poisson || loss == Loss::log_poisson ? &count : nullptr;
}

// The chunks of rows by which a batch's loss is added up, in order: up to eight in each block of its gradient
// (block_count), nearly equal, as many of a block by itself as of one of several: those have more than 128 rows. They
// depend on the number of rows alone: the same bits for any team.
class LossChunks {
public:
    explicit LossChunks(std::size_t rows)
        : rows_(rows),
          blocks_(block_count(rows)),
          each_(rows <= 32    ? 1
                : rows <= 64  ? 2
                : rows <= 128 ? 4
                              : 8) {}

    std::size_t count() const { return blocks_ * each_; }  // no more than there are rows
    std::size_t begin(std::size_t chunk) const;            // its first row; of the one after the last, their number
    double sum(const double* losses) const;                // of all chunks

private:
    std::size_t rows_, blocks_, each_;
};

// losses[chunk] = the kernel's sum over each chunk from `first` to `last` of a batch, whose gradient it writes.
template <class T>
void chunk_losses(const LossArguments<T>& batch, const LossChunks&, std::size_t first, std::size_t last,
                  double* losses);

// A loss of the user's: returns its value for the batch and fills the gradient by the prediction, if there is a place
// for it.
template <class T>
using CustomLoss =
    std::function<double(MatrixView<const T> prediction, MatrixView<const T> target, MatrixView<T> gradient)>;

}  // namespace fusednet
