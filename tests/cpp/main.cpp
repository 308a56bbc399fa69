// doctest's main. A run for a kernel set that this processor lacks is skipped, not failed: see SKIP_RETURN_CODE.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernels/dispatch.h"

int main(int argc, char** argv) {
    constexpr int skipped = 77;
    const char* forced = std::getenv("FUSEDNET_KERNELS");
    const auto built = fusednet::built_kernel_sets();
    const bool known = forced != nullptr && std::find(built.begin(), built.end(), forced) != built.end();
    if (known && fusednet::find_kernels(forced) == nullptr) {
        std::printf("skipped: this processor cannot run the kernel set %s\n", forced);
        return skipped;
    }
    return doctest::Context(argc, argv).run();
}
