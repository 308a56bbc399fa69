// What this processor and operating system can run.
#pragma once

#include "kernels/kernel_table.h"

namespace fusednet {

struct CpuFeatures {
    bool avx2;    // x86-64-v3: AVX2, FMA, BMI …, and the operating system saves the wide registers
    bool avx512;  // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
    bool amx;     // AMX-TILE and AMX-BF16 besides, and Linux saves the tiles of processes that may use them
    bool neon;
    // Whether what is not in the core's own caches is taken to be slow to come, and most of all what another core has
    // written: on Intel's processors with AVX-512, since the servers among them have each core and each part of the
    // third-level cache at its own place in a mesh. AMD's cores share such a cache by fours or eights.
    bool distant;
    Zen zen;
    std::size_t second_level_cache;  // bytes of a core's own; 0: not known. (Asked of Intel's processors.)
};

const CpuFeatures& cpu_features();

// Asks Linux for the tiles of AMX, which it saves for those processes that have ("Using XSTATE features in user space
// applications", its documentation). It refuses them where a thread has an alternative stack for signals that is too
// small to save them, and from then on refuses such stacks.
bool may_use_tiles();

}  // namespace fusednet
