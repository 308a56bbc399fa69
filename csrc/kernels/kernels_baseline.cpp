// The kernels for any processor of the architecture: on x86-64 its SSE2, which has no fused multiply-add.
#define FUSEDNET_SET baseline
#define FUSEDNET_VECTOR_BYTES 16
// 3 × 3 accumulators, three lines of B, the broadcast and a product: 14 of 16 registers. A broadcast takes two
// instructions, which three lines share.
#define FUSEDNET_TILE_ROWS 3
#define FUSEDNET_TILE_VECTORS 3
#define FUSEDNET_ROW_VECTORS 4
#include "kernel_set.inl"
