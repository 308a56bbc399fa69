// One kernel set: the instruction-set neutral kernels, compiled into the namespace FUSEDNET_SET, and their table.
#pragma once

#include "kernel_table.h"
#include "losses.inl"
#include "matmul.inl"
#include "updates.inl"

namespace fusednet::FUSEDNET_SET {

template <class T>
constexpr KernelTable<T> kernel_table = {
    lanes<T>,          panel_columns<T>,    panel_size<T>,    weight_scratch<T>, dense_forward<T>,
    input_gradient<T>, weight_gradient<T>,  bias_gradient<T>, activation<T>,     activation_backward<T>,
    softmax<T>,        softmax_backward<T>, loss<T>,          update<T>,         dropout<T>,
    gather<T>,         sum_squares<T>,      scale<T>,
};

#define FUSEDNET_STRING_OF(x) #x
#define FUSEDNET_STRING(x) FUSEDNET_STRING_OF(x)

extern const KernelSet kernel_set;
const KernelSet kernel_set = {FUSEDNET_STRING(FUSEDNET_SET), kernel_table<float>, kernel_table<double>};

}  // namespace fusednet::FUSEDNET_SET
