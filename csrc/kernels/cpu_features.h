// What this processor and operating system can run.
#pragma once

#include "kernels/kernel_table.h"

namespace fusednet {

struct CpuFeatures {
    bool avx2;    // x86-64-v3: AVX2, FMA, BMI …, and the operating system saves the wide registers
    bool avx512;  // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
    bool neon;
    // Whether what another core has written is taken to be slow to come: on Intel's processors with AVX-512, since the
    // servers among them have each core at its own place in a mesh. AMD's share a third-level cache by fours or eights.
    bool distant_cores;
    Zen zen;
};

const CpuFeatures& cpu_features();

}  // namespace fusednet
