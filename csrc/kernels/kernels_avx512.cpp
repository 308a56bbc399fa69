// The kernels for AVX-512 (x86-64-v4).
#define FUSEDNET_SET avx512
#include "avx512_tiles.h"

#include "kernel_set.inl"
