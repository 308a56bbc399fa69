#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(FUSEDNET_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fusednet {

namespace {

#if defined(__x86_64__)

struct Registers {
    unsigned eax, ebx, ecx, edx;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
    Registers r{};
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}

// Which register states the operating system saves (XCR0).
unsigned long long xgetbv() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<unsigned long long>(high) << 32) | low;
}

bool has(unsigned long long value, unsigned long long mask) { return (value & mask) == mask; }

constexpr unsigned long long bit(int i) { return 1ULL << i; }

unsigned family(const Registers& one) {
    const unsigned base = one.eax >> 8 & 0xf;
    return base == 0xf ? base + (one.eax >> 20 & 0xff) : base;
}

// By the leaf in which Intel's processors list their caches: the type 0 ends it.
std::size_t second_level_cache() {
    for (unsigned i = 0;; ++i) {
        const Registers cache = cpuid(4, i);
        const unsigned type = cache.eax & 0x1f, level = cache.eax >> 5 & 7;
        if (type == 0) return 0;
        if (level != 2) continue;
        const std::size_t ways = (cache.ebx >> 22) + 1, partitions = (cache.ebx >> 12 & 0x3ff) + 1;
        const std::size_t line = (cache.ebx & 0xfff) + 1, sets = cache.ecx + std::size_t{1};
        return ways * partitions * line * sets;
    }
}

#if defined(FUSEDNET_AMX)
constexpr int get_supported = 0x1021, request_permission = 0x1023, tile_data = 18;  // of arch_prctl
#endif

// Whether Linux keeps the tiles of AMX, for those processes that ask.
bool keeps_tiles() {
#if defined(FUSEDNET_AMX)
    unsigned long long supported = 0;
    return syscall(SYS_arch_prctl, get_supported, &supported) == 0 && has(supported, bit(tile_data));
#else
    return false;
#endif
}

// Bit positions: Intel SDM volume 2, CPUID; the levels: the x86-64 psABI.
CpuFeatures detect() {
    CpuFeatures features{};
    const Registers one = cpuid(1);
    const unsigned long long fma = bit(12), movbe = bit(22), osxsave = bit(27), avx = bit(28), f16c = bit(29);
    if (!has(one.ecx, fma | movbe | osxsave | avx | f16c)) return features;
    const unsigned long long saved = xgetbv();
    const Registers seven = cpuid(7), extended = cpuid(0x80000001);
    const unsigned long long bmi1 = bit(3), avx2 = bit(5), bmi2 = bit(8), lzcnt = bit(5);
    const unsigned long long ymm_state = bit(1) | bit(2);
    features.avx2 = has(seven.ebx, bmi1 | avx2 | bmi2) && has(extended.ecx, lzcnt) && (saved & ymm_state) == ymm_state;
    const unsigned long long f = bit(16), dq = bit(17), cd = bit(28), bw = bit(30), vl = bit(31);
    const unsigned long long zmm_state = ymm_state | bit(5) | bit(6) | bit(7);
    features.avx512 = features.avx2 && has(seven.ebx, f | dq | cd | bw | vl) && (saved & zmm_state) == zmm_state;
    const unsigned long long amx_bf16 = bit(22), amx_tile = bit(24), tile_state = bit(17) | bit(18);
    features.amx =
        features.avx512 && has(seven.edx, amx_bf16 | amx_tile) && (saved & tile_state) == tile_state && keeps_tiles();
    constexpr unsigned genu = 0x756e6547, auth = 0x68747541;  // the begins of "GenuineIntel" and "AuthenticAMD"
    const unsigned maker = cpuid(0).ebx;
    features.distant = features.avx512 && maker == genu;
    if (maker == genu) features.second_level_cache = second_level_cache();
    if (features.avx512 && maker == auth)
        features.zen = family(one) == 0x19 ? Zen::four : Zen::five;  // 0x19: of Zen 3, without AVX-512, and 4
    return features;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
    CpuFeatures features{};
    features.neon = true;
    return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
    static const CpuFeatures features = detect();
    return features;
}

bool may_use_tiles() {
#if defined(FUSEDNET_AMX)
    return cpu_features().amx && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

}  // namespace fusednet
