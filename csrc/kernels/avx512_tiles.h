// The shape of AVX-512's register tiles, for the kernel sets that have them.
#define FUSEDNET_VECTOR_BYTES 64
#define FUSEDNET_TILE_ROWS 14  // 14 × 2 accumulators, two lines of B, the broadcast: 31 of 32 registers
#define FUSEDNET_TILE_VECTORS 2
#define FUSEDNET_ROW_VECTORS 8
