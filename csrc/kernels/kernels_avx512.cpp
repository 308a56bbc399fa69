// The kernels for AVX-512 (x86-64-v4).
#define FUSEDNET_SET avx512
#define FUSEDNET_VECTOR_BYTES 64
#define FUSEDNET_TILE_ROWS 14  // 14 × 2 accumulators, two lines of B, the broadcast: 31 of 32 registers
#define FUSEDNET_TILE_VECTORS 2
#define FUSEDNET_ROW_VECTORS 8
#include "kernel_set.inl"
