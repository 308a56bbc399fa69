// The kernels for any processor of the architecture: on x86-64 its SSE2, which has no fused multiply-add.
#define FUSEDNET_SET baseline
#define FUSEDNET_VECTOR_BYTES 16
#define FUSEDNET_TILE_ROWS 4  // 4 × 2 accumulators, two lines of B, the broadcast and a product: 12 of 16 registers
#define FUSEDNET_ROW_VECTORS 4
#include "kernel_set.inl"
