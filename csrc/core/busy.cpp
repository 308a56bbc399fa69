#include "core/busy.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "core/check.h"

namespace fusednet {

namespace {

std::atomic<std::uint32_t> forks{0};
#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

[[noreturn]] void refuse() {
    fail<std::runtime_error>(
        "this network is being trained by another thread: expected one caller at a time (net.copy() gives each thread "
        "its own)");
}

}  // namespace

Occupancy::Occupancy() : process_(forks.load(std::memory_order_relaxed)) {}

// A fork leaves the threads of the parent behind, and the child would wait for them in vain.
void Occupancy::forget_parent() {
    const std::uint32_t process = forks.load(std::memory_order_relaxed);
    std::uint32_t before = process_.load(std::memory_order_relaxed);
    if (before == process) return;
    std::thread::id gone = thread_.load(std::memory_order_relaxed);
    if (process_.compare_exchange_strong(before, process) && gone != std::thread::id()) {
        thread_.compare_exchange_strong(gone, std::thread::id());
    }
}

void Occupancy::claim(std::thread::id thread) {
    std::thread::id none;
    if (!thread_.compare_exchange_strong(none, thread, std::memory_order_acquire)) refuse();
}

void Occupancy::begin_training() {
    forget_parent();
    const std::thread::id thread = std::this_thread::get_id();
    check<std::runtime_error>(
        thread_.load(std::memory_order_relaxed) != thread,
        "fit: this network is being trained by this thread already; expected no call from within its own "
        "training, as by a callback or a loss function");
    claim(thread);
    stepping_ = false;
}

Busy::Busy(Occupancy& occupancy) : occupancy_(occupancy) {
    occupancy.forget_parent();
    const std::thread::id thread = std::this_thread::get_id();
    training_ = occupancy.thread_.load(std::memory_order_relaxed) == thread;
    if (!training_) {
        occupancy.claim(thread);
    } else if (occupancy.stepping_) {
        refuse();
    }
    occupancy.stepping_ = true;
}

Busy::~Busy() {
    occupancy_.stepping_ = false;
    if (!training_) occupancy_.leave();
}

}  // namespace fusednet
