// What this processor and operating system can run.
#pragma once

namespace fusednet {

struct CpuFeatures {
    bool avx2;    // x86-64-v3: AVX2, FMA, BMI …, and the operating system saves the wide registers
    bool avx512;  // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
    bool neon;
    // Whether what another core has written is slow to come: on Intel's servers each core has its own place in a mesh,
    // where eight of AMD's share a third-level cache. (Of Intel's processors those have AVX-512.)
    bool distant_cores;
};

const CpuFeatures& cpu_features();

}  // namespace fusednet
