// Exceptions of tasks that a team runs: those must not throw.
#pragma once

#include <cstddef>
#include <exception>
#include <mutex>

namespace fusednet {

// The exception of the lowest task that threw.
class FirstError {
public:
    template <class Body>
    void guard(std::size_t task, Body body) {
        try {
            body();
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!error_ || task < task_) {
                error_ = std::current_exception();
                task_ = task;
            }
        }
    }
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

private:
    std::mutex mutex_;
    std::exception_ptr error_;
    std::size_t task_ = 0;
};

}  // namespace fusednet
