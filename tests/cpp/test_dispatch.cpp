// Which kernel sets there are and which is taken. The choice is made once a process, so each case has its own.
#include <algorithm>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>

#if defined(__linux__)
#include <unistd.h>
#endif

#include "child.h"
#include "kernels/cpu_features.h"
#include "support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST_CASE("the sets of this architecture, plainest first, each with its own tables") {
    const std::vector<std::string> built = built_kernel_sets(), available = available_kernel_sets();
#if defined(FUSEDNET_AMX)
    CHECK(built == std::vector<std::string>{"baseline", "avx2", "avx512", "amx"});
#elif defined(__x86_64__)
    CHECK(built == std::vector<std::string>{"baseline", "avx2", "avx512"});
#elif defined(__aarch64__)
    CHECK(built == std::vector<std::string>{"neon"});
#else
    CHECK(built == std::vector<std::string>{"baseline"});
#endif
    CHECK(available.front() == built.front());
    std::set<void (*)(const DenseForward<float>&)> entries;
    for (const std::string& name : available) {
        CHECK(contains(built, name));
        const KernelSet* set = find_kernels(name);
        REQUIRE(set != nullptr);
        CHECK(set->name == name);
        CHECK(set->f32.lanes == 2 * set->f64.lanes);
        CHECK(set->f32.panel_columns % set->f32.lanes == 0);
        entries.insert(set->f32.dense_forward);
    }
    CHECK(entries.size() == available.size());
    CHECK(find_kernels("sse9") == nullptr);
    CHECK(find_kernels("") == nullptr);
}

#if defined(FUSEDNET_TESTS_CHILD)

static bool active_is(const std::string& name) { return active_kernels().name == name; }

TEST_CASE("the widest set by default") {
    CHECK(in_child([] {
        unsetenv("FUSEDNET_KERNELS");
        return active_is(available_kernel_sets().back());
    }));
    CHECK(in_child([] {
        setenv("FUSEDNET_KERNELS", "", 1);
        return active_is(available_kernel_sets().back());
    }));
}

TEST_CASE("a set forced by FUSEDNET_KERNELS is the one that runs") {
    for (const std::string& name : available_kernel_sets()) {
        CHECK(in_child([&] {
            setenv("FUSEDNET_KERNELS", name.c_str(), 1);
            const KernelSet* set = find_kernels(name);
            return active_is(name) && &active_kernels() == set &&
                   kernels<float>().dense_forward == set->f32.dense_forward &&
                   kernels<double>().dense_forward == set->f64.dense_forward;
        }));
    }
}

TEST_CASE("a set that is unknown, or that this processor lacks, is an error naming those that it has") {
    std::vector<std::string> refused = {"sse9", "AVX2"};
    for (const std::string& name : built_kernel_sets()) {
        if (!contains(available_kernel_sets(), name)) refused.push_back(name);
    }
    for (const std::string& name : refused) {
        CHECK(in_child([&] {
            setenv("FUSEDNET_KERNELS", name.c_str(), 1);
            try {
                active_kernels();
            } catch (const std::invalid_argument& e) {
                const std::string message = e.what();
                return message.find(name) != std::string::npos &&
                       message.find(available_kernel_sets().back()) != std::string::npos;
            }
            return false;
        }));
    }
}

#endif

#if defined(_SC_LEVEL2_CACHE_SIZE)
TEST_CASE("the second-level cache, where its size is known, has the size that the C library finds") {
    const std::size_t known = cpu_features().second_level_cache;
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (known != 0 && found > 0) CHECK(known == static_cast<std::size_t>(found));
}
#endif
