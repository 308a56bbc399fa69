// Whether steps of so many rows are quicker with several threads or with one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>

namespace fusednet {

// Small steps are decided by how far the cores are apart: of the same work two cores that share a cache make two thirds
// of the time, two that do not make one and a half times it. So it is tried, on steps that are due anyway, since
// results don't depend on it: a few steps with the team, three times, then as many without, the best of each compared;
// and again after a quarter of a second, half a second, and so on up to two seconds. The team has to save a twentieth:
// less may be chance in so short a time, and nobody misses it. Before it is timed the team works for a while: an idle
// core's clock takes tens of milliseconds to rise, and as long some schedulers leave a thread that woke beside the one
// that woke it. So does the one thread, until it has passed over the data, of which the caches of others had a part.
// After a pause that is all to be done again, or one of both would be timed as it wakes; but where the steps come in
// bursts too short for a trial, they are timed as they come. What speaks for a change is tried once more at once: the
// few milliseconds may have been those in which something else had one of the cores.
class TeamTrial {
public:
    using Time = std::chrono::steady_clock::time_point;

    // Before a step or an epoch. What was found holds for as many threads.
    void begin(std::size_t threads) {
        if (threads == threads_) return;
        *this = {};
        threads_ = threads;
    }

    bool use_team() const {
        return phase_ == Phase::settled ? faster_ : phase_ == Phase::warming || phase_ == Phase::team;
    }

    void begin_step(Time now) {
        begun_ = now;
        const bool paused = seconds(last_, now) > pause;
        if (!paused || phase_ == Phase::settled || restarts_ == most_restarts) return;
        ++restarts_;
        begin_trial();
    }

    void end_step(Time now) {
        time_ += seconds(begun_, now);
        ++steps_;
        last_ = now;
        switch (phase_) {
            case Phase::warming:
                if (time_ >= warm_up) enter(Phase::team);
                break;
            case Phase::team:
                if (timed(best_team_)) enter(Phase::parting);
                break;
            case Phase::parting:
                if (time_ >= pass_over) enter(Phase::alone);
                break;
            case Phase::alone:
                if (!timed(best_alone_)) break;
                settle(best_team_ < worth * best_alone_);
                break;
            case Phase::settled:
                if (time_ < period_) break;
                period_ = std::min(2 * period_, longest_period);
                begin_trial();
        }
    }

    static constexpr std::size_t few = 8, times = 3, most_restarts = 3;
    static constexpr double worth = 0.95;  // of one thread's time
    static constexpr double warm_up = 0.04, pass_over = 0.01, first_period = 0.25, longest_period = 2,
                            pause = 0.01;  // seconds

private:
    enum class Phase { warming, team, parting, alone, settled };  // parting: alone, not yet timed
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    static double seconds(Time from, Time to) { return std::chrono::duration<double>(to - from).count(); }

    void begin_trial() {
        best_team_ = best_alone_ = infinity;
        enter(Phase::warming);
    }

    void settle(bool faster) {
        doubted_ = faster != faster_ && !doubted_;
        if (doubted_) return begin_trial();
        faster_ = faster;
        restarts_ = 0;
        enter(Phase::settled);
    }

    void enter(Phase phase) {
        phase_ = phase;
        steps_ = 0;
        time_ = 0;
    }

    // Counts a step; whether it was the last of these.
    bool timed(double& best) {
        if (steps_ % few == 0) {
            best = std::min(best, time_);
            time_ = 0;
        }
        return steps_ == times * few;
    }

    std::size_t threads_ = 0, steps_ = 0, restarts_ = 0;
    Time begun_{}, last_ = Time::max();  // no pause before the first step
    double time_ = 0, best_team_ = infinity, best_alone_ = infinity, period_ = first_period;
    Phase phase_ = Phase::warming;
    bool faster_ = true, doubted_ = false;
};

}  // namespace fusednet
