// What this processor and operating system can run.
#pragma once

namespace fusednet {

struct CpuFeatures {
    bool avx2;    // x86-64-v3: AVX2, FMA, BMI …, and the operating system saves the wide registers
    bool avx512;  // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
    bool neon;
};

CpuFeatures detect_cpu_features();

}  // namespace fusednet
