// Lets a long loop in C++ be interrupted: calls back every 50 ms or so, without reading the clock at every step.
#pragma once

#include <chrono>
#include <functional>

namespace fusednet {

class Heartbeat {
public:
    // `flops`: the work of one step. At 10 GFLOP/s or more, the clock is read once in 10 ms.
    Heartbeat(const std::function<void()>& callback, double flops)
        : callback_(callback), stride_(flops < 1e5 ? 1000 : 1 + static_cast<int>(1e8 / flops)) {}

    void step() {
        if (++steps_ < stride_ || !callback_) return;
        steps_ = 0;
        const auto now = Clock::now();
        if (now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        callback_();
    }

private:
    using Clock = std::chrono::steady_clock;
    const std::function<void()>& callback_;
    int stride_, steps_ = 0;
    Clock::time_point last_ = Clock::now();
};

}  // namespace fusednet
