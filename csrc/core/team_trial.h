// Whether the steps of an epoch are quicker with several threads or with one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

namespace fusednet {

// Small steps are decided by how far the cores are apart: of the same work two cores that share a cache make two thirds
// of the time, two that do not make one and a half times it. So it is tried, on steps that are due anyway, since
// results don't depend on it: a few steps with the team and as many without, three times, the best of each compared;
// and again after some thousand steps. The first step of a few is left out: it wakes the others.
class TeamTrial {
public:
    // Before an epoch. What was found holds for the same batches and threads.
    void begin(std::size_t batch, std::size_t threads) {
        if (batch == batch_ && threads == threads_) return;
        *this = {};
        batch_ = batch;
        threads_ = threads;
    }

    bool use_team() const { return step_ < trial ? !alone() : faster_; }

    // After each step.
    void finished(double seconds) {
        if (step_ < trial) {
            const std::size_t place = step_ % few;
            time_ = place == 0 ? 0 : time_ + seconds;
            double& best = alone() ? best_alone_ : best_team_;
            if (place == few - 1) best = std::min(best, time_);
        }
        if (++step_ == trial) {
            faster_ = best_team_ < best_alone_;
            best_team_ = best_alone_ = infinity;
        }
        step_ %= period;
    }

    static constexpr std::size_t few = 8, trial = 6 * few, period = 2048;

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    bool alone() const { return step_ / few % 2 == 1; }

    std::size_t batch_ = 0, threads_ = 0, step_ = 0;
    double time_ = 0, best_team_ = infinity, best_alone_ = infinity;
    bool faster_ = false;
};

}  // namespace fusednet
