#include "core/busy.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "core/check.h"

namespace fusednet {

namespace {

std::atomic<std::uint32_t> forks{0}, threads{0};
thread_local std::uint64_t known = 0;  // forks so far, and the thread's number

#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

}  // namespace

std::uint64_t this_thread() {
    const std::uint64_t process = forks.load(std::memory_order_relaxed);
    if (known == 0 || known >> 32 != process) known = process << 32 | (threads.fetch_add(1) + 1);
    return known;
}

void Occupancy::refuse(bool own) {
    if (own) {
        fail<std::runtime_error>(
            "this network is being trained by the caller itself: expected no step within one of its steps, as from a "
            "loss function, and no fit within its fit, as from a callback");
    }
    fail<std::runtime_error>(
        "this network is being trained by another thread: expected one caller at a time (net.copy() gives each thread "
        "its own)");
}

}  // namespace fusednet
