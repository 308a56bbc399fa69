// One thread at a time trains a network: its workspace, parameters and optimizer state are not to be shared.
#pragma once

#include <atomic>
#include <stdexcept>

namespace fusednet {

class Busy {
public:
    explicit Busy(std::atomic<bool>& flag) : flag_(flag) {
        if (flag_.exchange(true, std::memory_order_acquire)) {
            throw std::runtime_error(
                "this network is being trained by another thread: expected one caller at a time (net.copy() gives each "
                "thread its own)");
        }
    }
    ~Busy() { flag_.store(false, std::memory_order_release); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    std::atomic<bool>& flag_;
};

}  // namespace fusednet
