// The pool: every task once, one team at a time, and nothing that a fork breaks.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "child.h"
#include "network_support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;

// Whether each task below `count` ran exactly once, on a worker of the team.
bool runs_all(const Team& team, std::size_t count) {
    std::vector<std::atomic<int>> runs(count);
    std::atomic<bool> known_worker{true};
    team.run(count, [&](std::size_t task, std::size_t worker) {
        ++runs[task];
        if (worker >= team.size()) known_worker = false;
    });
    return known_worker && std::all_of(runs.begin(), runs.end(), [](const auto& n) { return n == 1; });
}

std::size_t threads_of_new_team(std::size_t wanted) {
    const Team team(wanted);
    return team.size();
}

}  // namespace

TEST_CASE("every task runs once") {
    const Threads four(4);
    for (const std::size_t threads : Sizes{1, 2, 3, 4}) {
        const Team team(threads);
        CHECK(team.size() == threads);
        for (const std::size_t count : Sizes{0, 1, 2, 3, 5, 100, 3000}) CHECK(runs_all(team, count));
    }
}

TEST_CASE("what a run wrote is there when it returns") {
    const Threads three(3);
    const Team team(3);
    std::vector<std::size_t> values(1000);
    bool equal = true;
    for (std::size_t round = 0; round < 200 * effort; ++round) {
        team.run(values.size(), [&](std::size_t task, std::size_t) { values[task] += task; });
    }
    for (std::size_t i = 0; i < values.size(); ++i) equal = equal && values[i] == 200 * effort * i;
    CHECK(equal);
}

TEST_CASE("many small runs, with pauses that let the workers sleep") {
    const Threads three(3);
    std::atomic<std::size_t> total{0};
    for (std::size_t round = 0; round < 50 * effort; ++round) {
        const Team team(2 + round % 2);
        for (std::size_t run = 0; run < 20; ++run) team.run(run % 4 + 1, [&](std::size_t, std::size_t) { ++total; });
        if (round % 16 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(total == 50 * effort * 5 * (1 + 2 + 3 + 4));
}

TEST_CASE("each worker begins with its own share of the tasks") {
    const Threads two(2);
    const Team team(2);
    int as_dealt = 0;
    for (int run = 0; run < 20; ++run) {
        std::atomic<int> started{0};
        std::size_t worker_of[2] = {9, 9};
        team.run(2, [&](std::size_t task, std::size_t worker) {
            worker_of[task] = worker;
            ++started;
            while (started < 2) std::this_thread::yield();  // so that nobody takes both
        });
        as_dealt += worker_of[0] == 0 && worker_of[1] == 1;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // a worker that is late may still take the other's
    }
    CHECK(as_dealt >= 15);
}

TEST_CASE("small work gets one thread, and so does work in small sections") {
    const Threads three(3);
    set_parallel_threshold(6e7);
    CHECK(threads_for(1e7) == 1);
    CHECK(threads_for(1e8) == 3);
    CHECK(threads_for(1e8, 20) == 3);   // 5e6 a section
    CHECK(threads_for(1e8, 200) == 1);  // 5e5
}

// A trial by a clock of its own.
struct TimedTrial : TeamTrial {
    Time now{};

    void wait(double seconds) { now += std::chrono::nanoseconds(std::llround(1e9 * seconds)); }
    void step(double seconds) {
        begin_step(now);
        wait(seconds);
        end_step(now);
    }
    void warm_team() {
        for (double time = 0; time < warm_up; time += 5e-3) {
            CHECK(use_team());
            step(5e-3);
        }
    }
};

TEST_CASE("a team is tried, used where it is faster, and tried again") {
    constexpr std::size_t tried = TeamTrial::few * TeamTrial::times;
    TimedTrial trial;
    trial.begin(2);
    double period = TeamTrial::first_period;
    const auto tries = [&](double with_team, double alone) {  // milliseconds a step
        trial.warm_team();                                    // slow to begin with, which may not count
        for (std::size_t i = 0; i < 2 * tried; ++i) {
            const bool team = i < tried;
            for (double time = 0; i == tried && time < TeamTrial::pass_over; time += 5e-3) {  // nor these
                CHECK(!trial.use_team());
                trial.step(5e-3);
            }
            CHECK(trial.use_team() == team);
            const bool disturbed = i % tried < 10;  // nor these, in two of three times
            trial.step(1e-3 * (team ? with_team : alone) * (disturbed ? 100 : 1));
        }
    };
    // A trial and what follows from it. Returns whether the team was used for that.
    const auto is_used = [&](double with_team, double alone) {
        tries(with_team, alone);
        const bool used = trial.use_team();
        for (double time = 0; time < period; time += 1e-3) {
            CHECK(trial.use_team() == used);
            trial.step(1e-3);
        }
        period = std::min(2 * period, TeamTrial::longest_period);
        return used;
    };
    const auto is_used_after_two = [&](double with_team, double alone) {  // as a change takes
        tries(with_team, alone);
        return is_used(with_team, alone);
    };
    CHECK(is_used(1.0, 1.2));
    CHECK(!is_used_after_two(1.2, 1.0));
    CHECK(is_used_after_two(1.0, 1.2));
    tries(1.2, 1.0);  // once only
    CHECK(is_used(1.0, 1.2));
    trial.begin(2);  // another epoch
    CHECK(!is_used_after_two(1.2, 1.0));
    CHECK(is_used_after_two(1.0, 1.2));    // the longest period again
    CHECK(!is_used_after_two(1.0, 1.04));  // quicker by less than may be chance
    CHECK(is_used_after_two(1.0, 1.06));
    trial.warm_team();
    for (std::size_t i = 0; i < tried; ++i) trial.step(1e-3);
    CHECK(!trial.use_team());
    trial.begin(3);
    CHECK(trial.use_team());
}

TEST_CASE("a trial begins anew after a pause, a few times, and keeps what it has found") {
    constexpr std::size_t tried = TeamTrial::few * TeamTrial::times;
    TimedTrial trial;
    trial.begin(2);
    const auto steps = [&](std::size_t n, double milliseconds) {
        for (std::size_t i = 0; i < n; ++i) trial.step(1e-3 * milliseconds);
    };
    const auto pass_over = [&] { steps(static_cast<std::size_t>(1e3 * TeamTrial::pass_over) + 1, 1); };
    const auto pause = [&] { trial.wait(2 * TeamTrial::pause); };
    trial.warm_team();
    pause();
    steps(1, 9);  // as it wakes
    CHECK(trial.use_team());
    trial.warm_team();
    steps(tried, 1);
    pass_over();
    pause();  // the team's times are gone, too
    steps(1, 9);
    for (int i = 0; i < 2; ++i) {
        trial.warm_team();
        steps(tried, 3);
        pass_over();
        steps(tried, 2);
    }
    CHECK(!trial.use_team());
    pause();
    steps(1, 2);
    CHECK(!trial.use_team());

    steps(static_cast<std::size_t>(1e3 * TeamTrial::first_period), 1);  // and the next trial
    for (std::size_t i = 0; i < TeamTrial::most_restarts; ++i) {
        steps(1, 1);
        trial.warm_team();
        steps(tried, 3);
        CHECK(!trial.use_team());
        pause();
    }
    steps(1, 1);
    trial.warm_team();
    for (std::size_t i = 0; i < tried; ++i) {  // in bursts
        pause();
        steps(1, 1);
    }
    CHECK(!trial.use_team());
    pass_over();
    steps(tried, 2);
    trial.warm_team();  // once more, as it would be a change
    steps(tried, 1);
    pass_over();
    steps(tried, 2);
    CHECK(trial.use_team());
}

TEST_CASE("several threads share the work") {
    const Threads three(3);
    const Team team(3);
    std::set<std::size_t> workers;
    for (int attempt = 0; attempt < 1000 && workers.size() < 2; ++attempt) {
        std::atomic<unsigned> seen{0};
        team.run(64, [&](std::size_t, std::size_t worker) {
            seen |= 1u << worker;
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        });
        for (std::size_t w = 0; w < 3; ++w) {
            if (seen & 1u << w) workers.insert(w);
        }
    }
    CHECK(workers.size() >= 2);
}

TEST_CASE("of tasks that throw the lowest one's exception comes out, when all are done") {
    const Threads three(3);
    const Team team(3);
    for (int attempt = 0; attempt < 100; ++attempt) {
        std::atomic<int> done{0};
        const auto run = [&] {
            team.run(40, [&](std::size_t task, std::size_t) {
                ++done;
                if (task % 10 == 7) throw std::runtime_error("task " + std::to_string(task));
            });
        };
        CHECK_THROWS_WITH_AS(run(), "task 7", std::runtime_error);
        CHECK(done == 40);
    }
    CHECK(runs_all(team, 40));
}

TEST_CASE("a second caller and a nested one get a team of one") {
    const Threads three(3);
    {
        const Team team(3);
        CHECK(team.size() == 3);
        CHECK(threads_of_new_team(3) == 1);
        std::size_t other = 0;
        std::thread([&] { other = threads_of_new_team(3); }).join();
        CHECK(other == 1);
        std::atomic<bool> nested{true};
        team.run(8, [&](std::size_t, std::size_t) {
            const Team inner(3);
            if (inner.size() != 1 || !runs_all(inner, 10)) nested = false;
        });
        CHECK(nested);
    }
    CHECK(threads_of_new_team(3) == 3);
}

TEST_CASE("callers that contend all get their work done") {
    const Threads three(3);
    std::atomic<bool> good{true};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back([&] {
            for (std::size_t round = 0; round < 100 * effort; ++round) {
                const Team team(3);
                if (!runs_all(team, round % 30)) good = false;
            }
        });
    }
    for (std::thread& t : callers) t.join();
    CHECK(good);
}

TEST_CASE("teams that grow and shrink never see a worker beyond their size") {
    const Threads automatic(1);
    bool good = true;
    for (std::size_t round = 0; round < 500 * effort; ++round) {
        set_num_threads(1 + round * 7 % 4);
        const Team team(4);
        good = good && team.size() == 1 + round * 7 % 4 && runs_all(team, 9);
    }
    CHECK(good);
}

TEST_CASE("set_num_threads takes 1 to 1024, or nothing for automatic") {
    const Threads automatic(1);
    for (const std::size_t bad : {std::size_t{0}, std::size_t{1025}, static_cast<std::size_t>(-1)}) {
        CHECK_THROWS_WITH_AS(set_num_threads(bad), doctest::Contains("expected a whole number from 1 to 1024"),
                             std::invalid_argument);
    }
    CHECK(get_num_threads() == 1);
    set_num_threads(1024);
    CHECK(get_num_threads() == 1024);
    set_num_threads(2);
    CHECK(threads_of_new_team(5) == 2);
    set_num_threads(std::nullopt);
    CHECK(get_num_threads() >= 1);
    CHECK(get_num_threads() <= std::max(1u, std::thread::hardware_concurrency()));
}

#if defined(FUSEDNET_TESTS_CHILD)

TEST_CASE("FUSEDNET_NUM_THREADS") {
    const auto with_variable = [](const char* value, auto body) {
        return in_child([&] {
            setenv("FUSEDNET_NUM_THREADS", value, 1);
            set_num_threads(std::nullopt);
            return body();
        });
    };
    CHECK(with_variable("7", [] { return get_num_threads() == 7; }));
    CHECK(with_variable("", [] { return get_num_threads() >= 1; }));
    for (const char* bad : {"0", "-1", "1025", "two", "2x", "1.5", " "}) {
        CAPTURE(std::string(bad));
        CHECK_FALSE(with_variable(bad, [] { return true; }));
    }
}

TEST_CASE("a child works in parallel again, and its parent goes on") {
    const Threads three(3);
    const auto trains = [] {
        Network<float> net(network_config({67, 150, 131, 10}, Activation::tanh, Activation::identity, Loss::mse));
        initialize(net, 1);
        const Data<float> data(96, 67, 10, Loss::mse);
        const float loss = static_cast<float>(net.train_step(data.samples(false, false), optimizer(UpdateRule::sgd)));
        return std::isfinite(loss);
    };
    const auto works = [&] { return threads_of_new_team(3) == 3 && runs_all(Team(3), 100) && trains(); };
    CHECK(works());
    CHECK(in_child(works));
    CHECK(in_child([&] { return works() && in_child(works); }));
    CHECK(works());
    // Forked while a team is held, as from a callback within an epoch: the child can end that team and have its own.
    auto held = std::make_unique<Team>(3);
    CHECK(in_child([&] {
        const bool good = runs_all(*held, 50);
        held.reset();
        return good && works();
    }));
    held.reset();
    CHECK(works());
}

#endif

TEST_CASE("one thread at a time is let in") {
    Occupancy occupancy;
    std::size_t in = 0;  // not atomic: for the sanitizer to see
    std::atomic<std::size_t> refused{0};
    constexpr std::size_t tries = 2000;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
            for (std::size_t i = 0; i < tries; ++i) {
                try {
                    const Busy busy(occupancy);
                    ++in;
                } catch (const std::runtime_error&) {
                    ++refused;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(in > 0);
    CHECK(in + refused == 3 * tries);
}

TEST_CASE("a training lets in the steps of its own thread, and a child forgets it") {
    const auto shared = std::make_shared<Occupancy>();
    Occupancy& occupancy = *shared;
    const auto free = [&] {
        try {
            const Busy busy(occupancy);
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    };
    const auto free_for_others = [&] {
        bool result = false;
        std::thread([&] { result = free(); }).join();
        return result;
    };
    {
        Training never_begun(shared), training(shared);
        training.begin();
        training.end();
        CHECK(free_for_others());
        training.begin();
        CHECK_THROWS_AS(never_begun.begin(), std::runtime_error);
        never_begun.end();
        CHECK_FALSE(free_for_others());
    }
    CHECK(free_for_others());
    Training training(shared);
    training.begin();
    CHECK(free());
    CHECK(free());
    CHECK_FALSE(free_for_others());
#if defined(FUSEDNET_TESTS_CHILD)
    CHECK(in_child([&] { return free_for_others() && free(); }));
#endif
    {
        const Busy busy(occupancy);
        CHECK_FALSE(free());
    }
    CHECK_FALSE(free_for_others());
    training.end();
    CHECK(free_for_others());
}
