// The kernels for AVX2 and FMA (x86-64-v3).
#define FUSEDNET_SET avx2
#define FUSEDNET_VECTOR_BYTES 32
#define FUSEDNET_TILE_ROWS 6  // 6 × 2 accumulators, two lines of B, the broadcast: 15 of 16 registers
#define FUSEDNET_TILE_VECTORS 2
#define FUSEDNET_ROW_VECTORS 8
#include "kernel_set.inl"
