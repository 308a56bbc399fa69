// The kernel sets of this build and the one in use.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace fusednet {

std::vector<std::string> built_kernel_sets();      // from the plainest to the widest
std::vector<std::string> available_kernel_sets();  // those of them that this processor can run

// The widest available set, or the one that the environment variable FUSEDNET_KERNELS names. Settled at the first call;
// throws std::invalid_argument where the variable names a set that is unknown or that this processor lacks.
const KernelSet& active_kernels();

// A set by name, whatever is active; null where this processor cannot run it, this process may not (may_use_tiles), or
// the build lacks it. For tests.
const KernelSet* find_kernels(const std::string& name);

template <class T>
const KernelTable<T>& kernels();
template <>
inline const KernelTable<float>& kernels<float>() {
    return active_kernels().f32;
}
template <>
inline const KernelTable<double>& kernels<double>() {
    return active_kernels().f64;
}

}  // namespace fusednet
