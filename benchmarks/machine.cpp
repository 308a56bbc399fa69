// The machine's own limits, as JSON: the peak of multiply-adds by instruction set and element type, and the bandwidth
// of memory and of the second-level cache. machine_benchmark THREADS measures on one thread, and on that many at once;
// machine_benchmark THREADS SET TYPE SECONDS only the peak of one set and type, on that many threads for so long.
#if !defined(_WIN32)
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu_features.h"
#include "machine_kernels.h"

namespace machine {
#if defined(__aarch64__)
namespace neon {
extern const Kernels kernels;
}
#else
namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif
#endif
}  // namespace machine

namespace {

using machine::Kernels;
using Body = std::function<double()>;

std::vector<std::pair<const char*, const Kernels*>> available_sets() {
    [[maybe_unused]] const fusednet::CpuFeatures& cpu = fusednet::cpu_features();
#if defined(__aarch64__)
    return {{"neon", &machine::neon::kernels}};
#else
    std::vector<std::pair<const char*, const Kernels*>> sets{{"baseline", &machine::baseline::kernels}};
#if defined(__x86_64__)
    if (cpu.avx2) sets.emplace_back("avx2", &machine::avx2::kernels);
    if (cpu.avx512) sets.emplace_back("avx512", &machine::avx512::kernels);
#endif
    return sets;
#endif
}

constexpr double usual = 0.3;  // seconds to measure one thing

// The best of several timings of the body, in billions of what it counts per second.
double best_rate(const Body& body, double seconds) {
    using Clock = std::chrono::steady_clock;
    double best = 0;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    do {
        const auto start = Clock::now();
        const double count = body();
        best = std::max(best, count / std::chrono::duration<double>(Clock::now() - start).count());
    } while (Clock::now() < end);
    return best * 1e-9;
}

// The sum over threads that measure at the same time; make_body is called in each thread.
double rate_of_threads(int threads, const std::function<Body()>& make_body, double seconds = usual) {
    std::vector<double> rates(static_cast<std::size_t>(threads));
    std::vector<std::thread> workers;
    std::atomic<int> ready{0};
    for (double& rate : rates) {
        workers.emplace_back([&ready, &rate, &make_body, threads, seconds] {
            const Body body = make_body();
            ++ready;
            while (ready < threads) std::this_thread::yield();
            rate = best_rate(body, seconds);
        });
    }
    for (auto& worker : workers) worker.join();
    double sum = 0;
    for (double rate : rates) sum += rate;
    return sum;
}

// Through three arrays of `bytes` in all. They are filled by the thread that uses them.
Body triad(const Kernels& kernels, double bytes) {
    struct Arrays {
        std::vector<double> a, b, c;
    };
    const auto n = static_cast<std::size_t>(bytes / 3 / sizeof(double));
    auto arrays =
        std::make_shared<Arrays>(Arrays{std::vector<double>(n), std::vector<double>(n, 1), std::vector<double>(n, 2)});
    const int repeat = std::max(1, static_cast<int>(2e7 / bytes));
    return [&kernels, arrays, n, repeat] {
        double moved = 0;
        for (int i = 0; i < repeat; ++i)
            moved += kernels.triad(arrays->a.data(), arrays->b.data(), arrays->c.data(), n);
        return moved;
    };
}

double peak(const Kernels& kernels, bool wide, int threads, double seconds = usual) {
    const auto multiply_add = wide ? kernels.multiply_add_float64 : kernels.multiply_add_float32;
    return rate_of_threads(threads, [=] { return [=] { return multiply_add(100'000); }; }, seconds);
}

#if defined(_SC_LEVEL2_CACHE_SIZE)
double cache_size(int name, double otherwise) {
    const long size = sysconf(name);
    return size > 0 ? static_cast<double>(size) : otherwise;
}
#endif

}  // namespace

int main(int argc, char** argv) {
    const int all = argc > 1 ? std::atoi(argv[1]) : 1;
    const auto sets = available_sets();
    if (argc == 5) {
        for (const auto& [name, set] : sets) {
            if (argv[2] != std::string_view(name)) continue;
            std::printf("%.2f\n", peak(*set, argv[3] == std::string_view("float64"), all, std::atof(argv[4])));
            return 0;
        }
        std::fprintf(stderr, "machine_benchmark: this processor has no kernel set %s\n", argv[2]);
        return 1;
    }
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const double l2 = cache_size(_SC_LEVEL2_CACHE_SIZE, 1 << 20), l3 = cache_size(_SC_LEVEL3_CACHE_SIZE, 1 << 26);
#else
    const double l2 = 1 << 20, l3 = 1 << 26;
#endif
    const auto print = [all](const char* before, const char* name, const std::function<double(int)>& rate) {
        std::printf("%s\"%s\": {\"one\": %.2f, \"all\": %.2f}", before, name, rate(1), rate(all));
    };
    std::printf("{\"l2_bytes\": %.0f, \"last_cache_bytes\": %.0f, \"threads\": %d,\n \"peak\": {", l2, l3, all);
    const char* separator = "";
    for (const auto& [name, set] : sets) {
        const Kernels& kernels = *set;
        std::printf("%s\"%s\": {", separator, name);
        print("", "float32", [&](int threads) { return peak(kernels, false, threads); });
        print(", ", "float64", [&](int threads) { return peak(kernels, true, threads); });
        std::printf("}");
        separator = ",\n  ";
    }
    const Kernels& widest = *sets.back().second;
    std::printf("},\n \"bandwidth\": {");
    print("", "l2", [&](int threads) { return rate_of_threads(threads, [&] { return triad(widest, l2 / 2); }); });
    print(", ", "memory", [&](int threads) {
        return rate_of_threads(threads, [&] { return triad(widest, std::max(4 * l3, 2.56e8) / threads); });
    });
    std::printf("}}\n");
}
