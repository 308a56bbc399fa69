#include "core/loss.h"

#include "core/enum_names.h"
#include "kernels/dispatch.h"

namespace fusednet {

namespace {

// In the order of the enumeration; `log_poisson` and `custom` have no names of their own.
constexpr const char* names[] = {"mse",     "half_mse", "mae", "huber", "cross_entropy", "binary_cross_entropy",
                                 "poisson", "quantile"};

}  // namespace

Loss loss_from_name(const std::string& name) { return enum_from_name<Loss>("loss", names, name); }

LossFactors scikit_learn_factors(Loss loss, std::size_t outputs) {
    const auto k = static_cast<double>(outputs);
    if (loss == Loss::half_mse) return {1 / k, 1};
    if (loss == Loss::binary_cross_entropy || loss == Loss::poisson || loss == Loss::log_poisson) return {k, k};
    return {};
}

std::size_t LossChunks::begin(std::size_t chunk) const {
    const std::size_t block = chunk / each_, first = block_begin(rows_, blocks_, block);
    if (chunk % each_ == 0) return first;
    return first + (block_begin(rows_, blocks_, block + 1) - first) * (chunk % each_) / each_;
}

double LossChunks::sum(const double* losses) const {
    double total = 0;
    for (std::size_t b = 0; b < blocks_; ++b, losses += each_) {
        double sum = 0;
        for (std::size_t i = 0; i < each_; ++i) sum += losses[i];
        total += sum;
    }
    return total;
}

template <class T>
void chunk_losses(const LossArguments<T>& batch, const LossChunks& chunks, std::size_t first, std::size_t last,
                  double* losses) {
    for (std::size_t chunk = first; chunk < last; ++chunk) {
        const std::size_t row = chunks.begin(chunk);
        losses[chunk] = kernels<T>().loss(rows_of(batch, row, chunks.begin(chunk + 1) - row));
    }
}

#define FUSEDNET_INSTANTIATE(T) \
    template void chunk_losses<T>(const LossArguments<T>&, const LossChunks&, std::size_t, std::size_t, double*);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
