#include "core/loss.h"

#include <algorithm>
#include <limits>

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

template <class T>
void gather_targets(const InputMatrix& y, const RowSelection& rows, T* out, std::size_t ldo, Loss loss,
                    const Team& team) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const bool probability = loss == Loss::binary_cross_entropy || loss == Loss::cross_entropy;
    const Range range{0.0, probability ? 1.0 : infinity};
    const bool count = loss == Loss::poisson || loss == Loss::log_poisson;
    gather_rows(y, rows, out, ldo, "y", team, probability || count ? &range : nullptr);
}

template <class T>
double batch_loss(const LossArguments<T>& a, double* partial, const Team& team) {
    const std::size_t blocks = block_count(a.rows), rows = std::max<std::size_t>(16, 8192 / a.columns);
    if (blocks == 1 && a.rows <= rows) return kernels<T>().loss(a);  // one chunk
    const std::size_t longest = std::min(a.rows, most_block_rows), each = (longest + rows - 1) / rows;
    team.run(blocks * each, [&](std::size_t chunk, std::size_t) {
        const std::size_t block = chunk / each, first = block_begin(a.rows, blocks, block) + chunk % each * rows;
        const std::size_t end = std::min(first + rows, block_begin(a.rows, blocks, block + 1));
        partial[chunk] = 0;
        if (end <= first) return;  // a shorter block
        LossArguments<T> part = a;
        part.rows = end - first;
        part.prediction += first * a.ldp;
        if (a.target != nullptr) part.target += first * a.ldt;
        if (a.label != nullptr) part.label += first;
        if (a.weight != nullptr) part.weight += first;
        if (a.gradient != nullptr) part.gradient += first * a.ldg;
        partial[chunk] = kernels<T>().loss(part);
    });
    double total = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
        double sum = 0;
        for (std::size_t chunk = b * each; chunk < (b + 1) * each; ++chunk) sum += partial[chunk];
        total += sum;
    }
    return total;
}

#define FUSEDNET_INSTANTIATE(T)                                                                                   \
    template void gather_targets<T>(const InputMatrix&, const RowSelection&, T*, std::size_t, Loss, const Team&); \
    template double batch_loss<T>(const LossArguments<T>&, double*, const Team&);
FUSEDNET_INSTANTIATE(float)
FUSEDNET_INSTANTIATE(double)

}  // namespace fusednet
