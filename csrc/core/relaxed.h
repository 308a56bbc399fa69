// A setting that one thread may read while another sets it, without any order beyond that.
#pragma once

#include <atomic>

namespace fusednet {

template <class T>
class Relaxed {
public:
    Relaxed(T value) : value_(value) {}  // NOLINT(google-explicit-constructor): stands for its value
    Relaxed(const Relaxed& other) : value_(static_cast<T>(other)) {}
    Relaxed& operator=(const Relaxed& other) {
        value_.store(static_cast<T>(other), std::memory_order_relaxed);
        return *this;
    }
    operator T() const {  // NOLINT(google-explicit-constructor)
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<T> value_;
};

}  // namespace fusednet
