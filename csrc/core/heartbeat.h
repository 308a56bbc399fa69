// Lets a long loop in C++ be watched and interrupted: calls back every 50 ms or so, without reading the clock at
// every step of a fast one: about as often as its steps turn out to take 5 to 20 ms.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>

namespace fusednet {

class Heartbeat {
public:
    using Callback = std::function<void(std::size_t)>;

    explicit Heartbeat(const Callback& callback) : callback_(callback) {}

    // `done`: what the callback is told.
    void step(std::size_t done) {
        if (++steps_ < stride_ || !callback_) return;
        steps_ = 0;
        const auto now = Clock::now();
        const double taken = std::chrono::duration<double>(now - read_).count();
        read_ = now;
        if (taken < 0.005) stride_ *= 2;
        if (taken > 0.02) stride_ = std::max(1, static_cast<int>(0.01 / taken * stride_));
        if (now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        callback_(done);
    }

private:
    using Clock = std::chrono::steady_clock;
    const Callback& callback_;
    int stride_ = 1, steps_ = 0;
    Clock::time_point last_ = Clock::now(), read_ = last_;  // the last call, the last look
};

}  // namespace fusednet
