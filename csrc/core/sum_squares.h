// Norms of flat arrays: of the weights for a penalty, of the gradient for clipping.
#pragma once

#include <algorithm>
#include <cstddef>

#include "core/thread_pool.h"
#include "kernels/dispatch.h"

namespace fusednet {

// Σ x², by chunks that depend on n alone and are added in order: the same bits for any team.
template <class T>
double sum_squares(const T* x, std::size_t n, const Team& team) {
    constexpr std::size_t least = 16384, most_chunks = 64;
    const std::size_t chunk = std::max(least, (n + most_chunks - 1) / most_chunks);
    double partial[most_chunks];
    const std::size_t chunks = (n + chunk - 1) / chunk;
    team.run(chunks, [&](std::size_t i, std::size_t) {
        partial[i] = kernels<T>().sum_squares(x + i * chunk, std::min(chunk, n - i * chunk));
    });
    double total = 0;
    for (std::size_t i = 0; i < chunks; ++i) total += partial[i];
    return total;
}

}  // namespace fusednet
