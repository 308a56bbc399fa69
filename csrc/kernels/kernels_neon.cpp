// The kernels for AArch64's NEON.
#define FUSEDNET_SET neon
#define FUSEDNET_VECTOR_BYTES 16
#define FUSEDNET_TILE_ROWS 10  // 10 × 2 accumulators, two lines of B, lines of A: 32 registers
#define FUSEDNET_TILE_VECTORS 2
#define FUSEDNET_ROW_VECTORS 8
#include "kernel_set.inl"
