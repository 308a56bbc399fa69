// One thread at a time trains a network: its workspace, parameters and optimizer state are not to be shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace fusednet {

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
    void forget_parent();
    void claim(std::thread::id);
    void leave() { thread_.store(std::thread::id(), std::memory_order_release); }

    std::atomic<std::thread::id> thread_{std::thread::id()};  // none
    std::atomic<std::uint32_t> process_;                      // by the number of forks that led to it
    bool stepping_ = false;                                   // the thread is within a step
};

// Held for a step, or while settings or optimizer states are changed. Throws std::runtime_error where the network
// is in use by another thread, or by this one's step.
class Busy {
public:
    explicit Busy(Occupancy&);
    ~Busy();
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    Occupancy& occupancy_;
    bool training_;  // of this thread, around the step
};

}  // namespace fusednet
