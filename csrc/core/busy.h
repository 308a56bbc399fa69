// One thread at a time trains a network: its workspace, parameters and optimizer state are not to be shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace fusednet {

extern std::atomic<std::uint32_t> forks;  // that led to this process

// Which thread a network, its layers included, is in use by: for a step, or for a training of many steps.
class Occupancy {
public:
    Occupancy();

    // By the calling thread: steps of its own alone are let in until the end. Throws std::runtime_error where the
    // network is in use already.
    void begin_training();
    void end_training() { leave(); }

private:
    friend class Busy;
    [[noreturn]] static void refuse();
    void forget_parent() {
        if (process_.load(std::memory_order_relaxed) != forks.load(std::memory_order_relaxed)) let_go();
    }
    void let_go();
    void claim(std::thread::id thread) {
        std::thread::id none;
        if (!thread_.compare_exchange_strong(none, thread, std::memory_order_acquire)) refuse();
    }
    void leave() { thread_.store(std::thread::id(), std::memory_order_release); }

    std::atomic<std::thread::id> thread_{std::thread::id()};  // none
    std::atomic<std::uint32_t> process_;                      // by its number of forks
    bool stepping_ = false;                                   // the thread is within a step
};

// Held for a step, or while settings or optimizer states are changed. Throws std::runtime_error where the network
// is in use by another thread, or by this one's step.
class Busy {
public:
    explicit Busy(Occupancy& occupancy) : occupancy_(occupancy) {
        occupancy.forget_parent();
        const std::thread::id thread = std::this_thread::get_id();
        training_ = occupancy.thread_.load(std::memory_order_relaxed) == thread;
        if (!training_) {
            occupancy.claim(thread);
        } else if (occupancy.stepping_) {
            Occupancy::refuse();
        }
        occupancy.stepping_ = true;
    }
    ~Busy() {
        occupancy_.stepping_ = false;
        if (!training_) occupancy_.leave();
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    Occupancy& occupancy_;
    bool training_;  // of this thread, around the step
};

}  // namespace fusednet
