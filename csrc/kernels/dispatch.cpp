#include "kernels/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "kernels/cpu_features.h"

namespace fusednet {

#if defined(__aarch64__)
namespace neon {
extern const KernelSet kernel_set;
}
#else
namespace baseline {
extern const KernelSet kernel_set;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelSet kernel_set;
}
namespace avx512 {
extern const KernelSet kernel_set;
}
#endif
#endif

namespace {

struct Candidate {
    const KernelSet* set;
    bool available;
};

std::vector<Candidate> candidates() {
    [[maybe_unused]] const CpuFeatures cpu = detect_cpu_features();
#if defined(__aarch64__)
    return {{&neon::kernel_set, cpu.neon}};
#elif defined(__x86_64__)
    return {{&baseline::kernel_set, true}, {&avx2::kernel_set, cpu.avx2}, {&avx512::kernel_set, cpu.avx512}};
#else
    return {{&baseline::kernel_set, true}};
#endif
}

std::string join(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

const KernelSet& choose() {
    const char* forced = std::getenv("FUSEDNET_KERNELS");
    if (forced == nullptr || *forced == '\0') return *find_kernels(available_kernel_sets().back());
    if (const KernelSet* set = find_kernels(forced)) return *set;
    throw std::invalid_argument("FUSEDNET_KERNELS=" + std::string(forced) +
                                ": expected one of the kernel sets that this processor can run (" +
                                join(available_kernel_sets()) + "); built are " + join(built_kernel_sets()));
}

}  // namespace

std::vector<std::string> built_kernel_sets() {
    std::vector<std::string> names;
    for (const Candidate& c : candidates()) names.emplace_back(c.set->name);
    return names;
}

std::vector<std::string> available_kernel_sets() {
    std::vector<std::string> names;
    for (const Candidate& c : candidates()) {
        if (c.available) names.emplace_back(c.set->name);
    }
    return names;
}

const KernelSet* find_kernels(const std::string& name) {
    for (const Candidate& c : candidates()) {
        if (c.available && name == c.set->name) return c.set;
    }
    return nullptr;
}

const KernelSet& active_kernels() {
    static const KernelSet& active = choose();
    return active;
}

}  // namespace fusednet
