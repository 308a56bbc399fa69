#include "core/busy.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "core/check.h"

namespace fusednet {

std::atomic<std::uint32_t> forks{0};

namespace {

#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

}  // namespace

Occupancy::Occupancy() : process_(forks.load(std::memory_order_relaxed)) {}

void Occupancy::refuse() {
    fail<std::runtime_error>(
        "this network is being trained by another thread: expected one caller at a time (net.copy() gives each thread "
        "its own)");
}

// A fork leaves the threads of the parent behind, and the child would wait for them in vain.
void Occupancy::let_go() {
    std::uint32_t before = process_.load(std::memory_order_relaxed);
    std::thread::id gone = thread_.load(std::memory_order_relaxed);
    if (process_.compare_exchange_strong(before, forks.load(std::memory_order_relaxed)) && gone != std::thread::id()) {
        thread_.compare_exchange_strong(gone, std::thread::id());
    }
}

void Occupancy::begin_training() {
    forget_parent();
    const std::thread::id thread = std::this_thread::get_id();
    check<std::runtime_error>(thread_.load(std::memory_order_relaxed) != thread,
                              "fit: this network is being trained by this thread already; expected no call from within "
                              "its own training, as by a callback or a loss function");
    claim(thread);
    stepping_ = false;
}

}  // namespace fusednet
