// AVX-512's kernels, but those products of float32 that are worth it by the tiles of AMX.
#define FUSEDNET_SET amx
#include "avx512_tiles.h"

#include "amx_forward.inl"
#include "amx_input_gradient.inl"
#include "amx_weight_step.inl"

namespace fusednet::amx {

KernelTable<float> float_kernels_of(KernelTable<float> table);  // dispatch.cpp's
KernelTable<float> float_kernels_of(KernelTable<float> table) {
    table.many_rows = tiled_rows;
    table.panel_size = amx_panel_size;
    table.input_scratch = amx_input_scratch;
    table.weight_scratch = amx_weight_scratch;
    table.dense_forward = amx_dense_forward;
    table.input_gradient = amx_input_gradient;
    table.weight_gradient = amx_weight_gradient;
    table.weight_step = amx_weight_step;
    return table;
}

}  // namespace fusednet::amx
