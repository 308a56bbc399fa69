// A small pool of the core's own. Work is a number of independent tasks; who runs which task never changes a result.
#pragma once

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

namespace fusednet {

// A reference to a callable void(task, worker), valid for the call it is passed to: no allocation, no ownership.
class TaskBody {
public:
    template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TaskBody>>>
    TaskBody(F&& f)  // NOLINT(google-explicit-constructor): made from a lambda at the call
        : object_(const_cast<void*>(static_cast<const void*>(&f))),
          call_([](void* object, std::size_t task, std::size_t worker) {
              (*static_cast<std::remove_reference_t<F>*>(object))(task, worker);
          }) {}
    void operator()(std::size_t task, std::size_t worker) const { call_(object_, task, worker); }

private:
    void* object_;
    void (*call_)(void*, std::size_t, std::size_t);
};

class ThreadPool;

// The right to use several threads, held for one training step, epoch or prediction. While one caller holds it, a
// second gets a team of one. After a run its workers wait for a while, in case another follows, then sleep.
class Team {
public:
    explicit Team(std::size_t wanted);  // at most that many threads; 1 needs no pool
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    std::size_t size() const { return size_; }

    // body(task, worker) for every task below `count`, worker below size(). Returns when all are done. Of tasks that
    // throw, the lowest one's exception is thrown again here; a team of one starts none after it.
    template <class F>
    void run(std::size_t count, F&& body) const {
        if (size_ == 1 || count <= 1) {
            for (std::size_t task = 0; task < count; ++task) body(task, std::size_t{0});
        } else {
            run_parallel(count, TaskBody(body));
        }
    }

private:
    void run_parallel(std::size_t count, TaskBody body) const;

    std::size_t size_;
    ThreadPool* pool_ = nullptr;  // held; after a fork it may not be the process's pool any more
};

// How many threads to ask for, for so many operations in so many sections, at whose ends the threads wait for each
// other. Below a threshold, waking the others costs more than they save; below a sixtieth of it a section, waiting
// does. Measured on two cores: a call of its own gains nothing at 4e7, a fifth at 9e7, three quarters at 5e8; steps of
// an epoch gain a fifth to a half at 1e6 a section, or lose as much (TeamTrial). `set_parallel_threshold` is for tests,
// which lower it, and for measuring it.
std::size_t threads_for(double flops, std::size_t sections = 1);
void set_parallel_threshold(double flops);
constexpr double default_parallel_threshold = 6e7;

// Whether so many equal parts give the threads about as much each: at least three quarters of their time is spent.
constexpr bool are_even(std::size_t parts, std::size_t threads) {
    const std::size_t turns = (parts + threads - 1) / threads;
    return 4 * parts >= 3 * turns * threads;
}

// Gives the calling thread teams of one from then on: for threads that each train a network of their own.
void use_one_thread();

// The most threads a team gets: what set_num_threads said, or FUSEDNET_NUM_THREADS, or the processors that this
// process may use by affinity and cgroup quota, at most OMP_NUM_THREADS.
std::size_t get_num_threads();
void set_num_threads(std::optional<std::size_t> threads);  // nullopt: automatic again

}  // namespace fusednet
