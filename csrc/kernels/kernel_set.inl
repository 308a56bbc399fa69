// One kernel set for one element type: the instruction-set neutral kernels, compiled into the namespace FUSEDNET_SET
// for FUSEDNET_ELEMENT, and their table. The two types are compiled apart to keep two cores busy.
#pragma once

#include "dropout.inl"
#include "gather.inl"
#include "input_gradient.inl"
#include "kernel_table.h"
#include "losses.inl"
#include "weight_step.inl"

namespace fusednet::FUSEDNET_SET {

template <class T>
constexpr KernelTable<T> table_of_kernels = {
    lanes<T>,
    tile_rows,
    panel_columns<T>,
    never,  // as no rows are too many for the one way that these have
    panel_size<T>,
    input_scratch<T>,
    weight_scratch<T>,
    dense_forward<T>,
    input_gradient<T>,
    weight_gradient<T>,
    bias_gradient<T>,
    weight_step<T>,
    activation<T>,
    activation_backward<T>,
    softmax<T>,
    softmax_backward<T>,
    argmax<T>,
    loss<T>,
    update<T>,
    dropout<T>,
    gather<T>,
    sum_squares<T>,
    scale<T>,
};

#define FUSEDNET_JOINED(a, b) a##b
#define FUSEDNET_JOIN(a, b) FUSEDNET_JOINED(a, b)
#define FUSEDNET_TABLE FUSEDNET_JOIN(FUSEDNET_ELEMENT, _kernels)

extern const KernelTable<FUSEDNET_ELEMENT> FUSEDNET_TABLE;
const KernelTable<FUSEDNET_ELEMENT> FUSEDNET_TABLE = table_of_kernels<FUSEDNET_ELEMENT>;

}  // namespace fusednet::FUSEDNET_SET
