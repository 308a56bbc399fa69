// GFLOP/s of the three matrix products, by shape, element type and kernel set; of one set, if it is named. A table for
// people and for run.py. In buffers like the library's own, for which it asks huge pages. Run pinned to one core:
// taskset -c 0 kernel_benchmark avx2
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "core/buffer.h"
#include "core/dense.h"
#include "kernels/cpu_features.h"
#include "kernels/dispatch.h"

namespace {

using fusednet::Activation;
using fusednet::KernelTable;

// The shortest of several timings, in seconds per call. So many calls are timed at once that reading the clock does
// not count.
template <class Body>
double seconds(Body body) {
    using Clock = std::chrono::steady_clock;
    const auto time = [&](int calls) {
        const auto start = Clock::now();
        for (int i = 0; i < calls; ++i) body();
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    int calls = 1;
    while (time(calls) < 0.004) calls *= 2;
    double best = 1e9;
    for (int trial = 0; trial < 15; ++trial) best = std::min(best, time(calls) / calls);
    return best;
}

template <class T>
fusednet::Buffer<T> filled(std::size_t n) {
    const fusednet::Buffer<T> buffer(n);
    std::fill_n(buffer.data(), n, T(0.01));
    return buffer;
}

template <class T>
void measure(const char* set, const KernelTable<T>& kernels, std::size_t m, std::size_t k, std::size_t n) {
    const std::size_t ldx = fusednet::leading_dimension<T>(k), ldy = fusednet::leading_dimension<T>(n);
    const auto x = filled<T>(m * ldx + 64), w = filled<T>(k * n), b = filled<T>(n), y = filled<T>(m * ldy + 64),
               g = filled<T>(k * n);
    const auto panel =
        filled<T>(std::max({kernels.panel_size(k), kernels.input_scratch(m, n), kernels.weight_scratch(m, n)}) + 64);
    const fusednet::Zen zen = fusednet::cpu_features().zen;
    const bool distant = fusednet::cpu_features().distant;
    const double flops = 2e-9 * static_cast<double>(m * k * n);
    const double forward = flops / seconds([&] {
                               kernels.dense_forward({x.data(), ldx, w.data(), n, b.data(), y.data(), ldy, nullptr, m,
                                                      k, n, Activation::identity, panel.data(), nullptr, false, zen});
                           });
    const double with_tanh = flops / seconds([&] {
                                 kernels.dense_forward({x.data(), ldx, w.data(), n, b.data(), y.data(), ldy, nullptr, m,
                                                        k, n, Activation::tanh, panel.data(), nullptr, false, zen});
                             });
    const double input = flops / seconds([&] {
                             kernels.input_gradient({y.data(), ldy, w.data(), n, x.data(), ldx, nullptr, nullptr, ldx,
                                                     m, k, n, Activation::identity, panel.data(), nullptr, zen});
                         });
    const double weight = flops / seconds([&] {
                              kernels.weight_gradient({x.data(), ldx, y.data(), ldy, w.data(), g.data(), n, m, k, n,
                                                       T(1), T(0), false, panel.data(), k, false, distant});
                          });
    const double fused = flops / seconds([&] {
                             kernels.weight_gradient({x.data(), ldx, y.data(), ldy, w.data(), w.data(), n, m, k, n,
                                                      T(-1e-6), T(0), true, panel.data(), k, false, distant});
                         });
    std::printf("%-9s %-7s %5zu %5zu %5zu   %7.1f %7.1f %7.1f %7.1f %7.1f\n", set,
                sizeof(T) == 4 ? "float32" : "float64", m, k, n, forward, with_tanh, input, weight, fused);
}

}  // namespace

int main(int argc, char** argv) {
    const std::size_t shapes[][3] = {{1, 64, 128},      {1, 128, 128},  {4, 2, 16},      {32, 16, 16},
                                     {32, 64, 64},      {32, 64, 128},  {32, 128, 128},  {32, 128, 1},
                                     {64, 784, 256},    {64, 256, 128}, {64, 128, 10},   {128, 512, 512},
                                     {128, 1024, 1024}, {64, 127, 127}, {64, 1000, 1000}};
    std::printf("GFLOP/s\n%-9s %-7s %5s %5s %5s   %7s %7s %7s %7s %7s\n", "set", "type", "m", "k", "n", "forward",
                "+tanh", "input", "weight", "+update");
    for (const std::string& name : fusednet::available_kernel_sets()) {
        if (argc > 1 && name != argv[1]) continue;
        const fusednet::KernelSet& set = *fusednet::find_kernels(name);
        for (const auto& s : shapes) measure(set.name, set.f32, s[0], s[1], s[2]);
        for (const auto& s : shapes) measure(set.name, set.f64, s[0], s[1], s[2]);
    }
}
