// One thread at a time trains a network: its workspace, parameters and optimizer state are not to be shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace fusednet {

// A number that no other thread has, nor had one of a process that this one was forked from.
std::uint64_t this_thread();

// Which thread a network, its layers included, is in use by: for a step, or for a training of many steps.
class Occupancy {
private:
    friend class Busy;
    friend class Training;
    [[noreturn]] static void refuse(bool own);

    // A thread that a fork left behind in the parent has nothing here.
    void claim(std::uint64_t thread) {
        std::uint64_t owner = owner_.load(std::memory_order_relaxed);
        const bool free = owner == 0 || owner >> 32 != thread >> 32;
        if (!free || !owner_.compare_exchange_strong(owner, thread, std::memory_order_acquire)) refuse(owner == thread);
    }
    void leave() { owner_.store(0, std::memory_order_release); }

    std::atomic<std::uint64_t> owner_{0};
    bool stepping_ = false;  // the owner is within a step
};

// Held for a step, or while settings or optimizer states are changed. Throws std::runtime_error where the network is in
// use by another thread, or by this one's step.
class Busy {
public:
    explicit Busy(Occupancy& occupancy) : occupancy_(occupancy) {
        const std::uint64_t thread = this_thread();
        training_ = occupancy.owner_.load(std::memory_order_relaxed) == thread;
        if (!training_) {
            occupancy.claim(thread);
        } else if (occupancy.stepping_) {
            Occupancy::refuse(true);
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

// Many steps: from begin to end, those of the thread that began are let in, and no others.
class Training {
public:
    explicit Training(std::shared_ptr<Occupancy> occupancy) : occupancy_(std::move(occupancy)) {}
    ~Training() { end(); }
    Training(const Training&) = delete;
    Training& operator=(const Training&) = delete;

    void begin() {  // throws std::runtime_error where the network is in use
        const std::uint64_t thread = this_thread();
        occupancy_->claim(thread);
        occupancy_->stepping_ = false;
        owner_ = thread;
    }
    void end() {  // of the claim that this one made: in a child of a fork it may be another's by now
        if (owner_ != 0) occupancy_->owner_.compare_exchange_strong(owner_, 0, std::memory_order_release);
        owner_ = 0;
    }

private:
    std::shared_ptr<Occupancy> occupancy_;
    std::uint64_t owner_ = 0;  // the thread that began
};

}  // namespace fusednet
