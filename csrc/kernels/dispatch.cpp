#include "kernels/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "kernels/cpu_features.h"

namespace fusednet {

#define FUSEDNET_DECLARE_KERNELS(set)                \
    namespace set {                                  \
    extern const KernelTable<float> float_kernels;   \
    extern const KernelTable<double> double_kernels; \
    }
#if defined(__aarch64__)
FUSEDNET_DECLARE_KERNELS(neon)
#else
FUSEDNET_DECLARE_KERNELS(baseline)
#if defined(__x86_64__)
FUSEDNET_DECLARE_KERNELS(avx2)
FUSEDNET_DECLARE_KERNELS(avx512)
#if defined(FUSEDNET_AMX)
namespace amx {
KernelTable<float> float_kernels_of(KernelTable<float> avx512);
}
#endif
#endif
#endif

namespace {

struct Candidate {
    KernelSet set;
    bool available;
    bool (*may_use)() = nullptr;  // asks for the operating system's leave, where that is needed
};

const auto& candidates() {
    [[maybe_unused]] const CpuFeatures& cpu = cpu_features();
    static const Candidate all[] = {
#if defined(__aarch64__)
        {{"neon", neon::float_kernels, neon::double_kernels}, cpu.neon},
#else
        {{"baseline", baseline::float_kernels, baseline::double_kernels}, true},
#if defined(__x86_64__)
        {{"avx2", avx2::float_kernels, avx2::double_kernels}, cpu.avx2},
        {{"avx512", avx512::float_kernels, avx512::double_kernels}, cpu.avx512},
#if defined(FUSEDNET_AMX)
        {{"amx", amx::float_kernels_of(avx512::float_kernels), avx512::double_kernels}, cpu.amx, may_use_tiles},
#endif
#endif
#endif
    };
    return all;
}

std::string join(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

// Of the available sets that this process may use.
const KernelSet& widest() {
    std::vector<std::string> names = available_kernel_sets();
    while (find_kernels(names.back()) == nullptr) names.pop_back();
    return *find_kernels(names.back());
}

const KernelSet& choose() {
    const char* forced = std::getenv("FUSEDNET_KERNELS");
    if (forced == nullptr || *forced == '\0') return widest();
    if (const KernelSet* set = find_kernels(forced)) return *set;
    const std::string setting = "FUSEDNET_KERNELS=" + std::string(forced);
    if (std::string(forced) == "amx" && cpu_features().amx)
        throw std::invalid_argument(setting +
                                    ": Linux does not let this process use AMX's tiles, perhaps as the "
                                    "alternative signal stack of some thread is too small for them");
    throw std::invalid_argument(setting + ": expected one of the kernel sets that this processor can run (" +
                                join(available_kernel_sets()) + "); built are " + join(built_kernel_sets()));
}

}  // namespace

std::vector<std::string> built_kernel_sets() {
    std::vector<std::string> names;
    for (const Candidate& c : candidates()) names.emplace_back(c.set.name);
    return names;
}

std::vector<std::string> available_kernel_sets() {
    std::vector<std::string> names;
    for (const Candidate& c : candidates()) {
        if (c.available) names.emplace_back(c.set.name);
    }
    return names;
}

const KernelSet* find_kernels(const std::string& name) {
    for (const Candidate& c : candidates()) {
        if (c.available && name == c.set.name) return c.may_use == nullptr || c.may_use() ? &c.set : nullptr;
    }
    return nullptr;
}

const KernelSet& active_kernels() {
    static const KernelSet& active = choose();
    return active;
}

}  // namespace fusednet
