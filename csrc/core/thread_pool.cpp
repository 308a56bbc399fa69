#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "core/check.h"

namespace fusednet {

namespace {

constexpr std::size_t most_threads = 1024;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Waits for the condition: spins for tens of microseconds, then lets others have the processor between two looks; after
// some more of them tells whether it came true.
template <class Condition>
bool wait_for(Condition condition) {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::microseconds spinning(40), all(200);
    const Clock::time_point start = Clock::now();
    while (Clock::now() - start < spinning) {
        for (int i = 0; i < 32; ++i) {
            if (condition()) return true;
            pause();
        }
    }
    while (Clock::now() - start < all) {
        if (condition()) return true;
        std::this_thread::yield();
    }
    return condition();
}

}  // namespace

// Tasks are dealt out in shares, one for each worker, of neighbours: run after run the same worker takes the same ones,
// and finds what they read in its own cache. Whoever is through takes from the others' shares. A task is claimed by
// advancing a share's ticket: the run's number in the high half, the next task in the low half. While a run is being
// set up all tickets are closed (all ones below), so a claim can only succeed for a run whose fields have not changed
// since the ticket was read.
struct alignas(64) Share {  // a cache line
    static constexpr std::uint64_t closed = 0xffffffff;
    std::atomic<std::uint64_t> ticket{closed};
    std::atomic<std::size_t> end{0};  // the task behind its last
};

// Lives until the process ends.
class ThreadPool {
public:
    // Not a mutex: the owner itself may ask again, from a loss function that predicts.
    bool try_own() { return !owned_.test_and_set(std::memory_order_acquire); }
    void disown() { owned_.clear(std::memory_order_release); }

    // By the owner: the threads beside the caller's, started at first use. Returns how many there are, which is fewer
    // where the system gives no more.
    std::size_t set_workers(std::size_t workers) {
        try {
            while (threads_.size() < workers) {
                const std::size_t worker = threads_.size() + 1;
                threads_.emplace_back([this, worker] { work(worker); });
            }
        } catch (const std::exception&) {
            workers = threads_.size();
        }
        workers_.store(workers, std::memory_order_relaxed);
        return workers;
    }

    void run(std::size_t count, const TaskBody& body) {
        const std::uint64_t number = run_.load(std::memory_order_relaxed) + 1;
        const std::size_t team = 1 + workers_.load(std::memory_order_relaxed);
        // Those of a larger team too: their numbers are old, but what they are compared with is about to change.
        for (std::size_t s = 0; s <= threads_.size(); ++s) {
            shares_[s].ticket.store(number << 32 | Share::closed, std::memory_order_relaxed);
        }
        // Released: who reads one of these has seen the tickets closed, and cannot claim a task of the run before.
        body_.store(&body, std::memory_order_release);
        done_.store(0, std::memory_order_relaxed);
        for (std::size_t s = 0; s < team; ++s) {
            shares_[s].end.store((s + 1) * count / team, std::memory_order_release);
            shares_[s].ticket.store(number << 32 | s * count / team, std::memory_order_release);
        }
        run_.store(number, std::memory_order_seq_cst);
        if (sleeping_.load(std::memory_order_seq_cst) > 0) {
            {
                const std::lock_guard<std::mutex> lock(mutex_);
            }
            wake_.notify_all();
        }
        take_tasks(0);
        while (!wait_for([&] { return done_.load(std::memory_order_acquire) == count; })) continue;
        if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
    }

private:
    // Runs tasks while there are any, the worker's own first. (A worker beyond the team's size may come late, from a
    // run of a larger team.)
    void take_tasks(std::size_t worker) {
        const std::size_t team = 1 + workers_.load(std::memory_order_relaxed);
        for (std::size_t s = 0; s < team && worker < team; ++s) take_share(shares_[(worker + s) % team], worker);
    }

    void take_share(Share& share, std::size_t worker) {
        std::uint64_t ticket = share.ticket.load(std::memory_order_acquire);
        while (true) {
            const TaskBody* body = body_.load(std::memory_order_acquire);
            const std::size_t end = share.end.load(std::memory_order_acquire);
            const std::uint64_t task = ticket & Share::closed;
            if (task >= end || worker > workers_.load(std::memory_order_relaxed)) return;
            if (!share.ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
            try {
                (*body)(static_cast<std::size_t>(task), worker);
            } catch (...) {
                keep_error(task);
            }
            done_.fetch_add(1, std::memory_order_release);
            ticket = share.ticket.load(std::memory_order_acquire);
        }
    }

    void keep_error(std::uint64_t task) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (error_ != nullptr && task > error_task_) return;
        error_ = std::current_exception();
        error_task_ = task;
    }

    void work(std::size_t worker) {
        std::uint64_t seen = 0;
        const auto has_run = [&] {  // for this worker, which a smaller team has no use for
            return run_.load(std::memory_order_seq_cst) != seen && worker <= workers_.load(std::memory_order_relaxed);
        };
        while (true) {
            if (!wait_for(has_run)) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.fetch_add(1, std::memory_order_seq_cst);
                wake_.wait(lock, has_run);
                sleeping_.fetch_sub(1, std::memory_order_seq_cst);
            }
            seen = run_.load(std::memory_order_acquire);
            take_tasks(worker);
        }
    }

    Share shares_[most_threads];
    std::atomic<std::uint64_t> run_{0};
    std::atomic<const TaskBody*> body_{nullptr};
    std::atomic<std::size_t> done_{0}, workers_{0};
    std::atomic<int> sleeping_{0};
    std::atomic_flag owned_ = ATOMIC_FLAG_INIT;
    std::exception_ptr error_;  // of the lowest task that threw
    std::uint64_t error_task_ = 0;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
};

namespace {

// After a fork the child has none of the threads, and the mutexes are as the fork found them: it starts anew, and
// the parent's pool is left as it is.
std::atomic<ThreadPool*> pool_pointer{nullptr};

ThreadPool& pool() {
    ThreadPool* current = pool_pointer.load(std::memory_order_acquire);
    if (current == nullptr) {
        auto fresh = std::make_unique<ThreadPool>();
        if (pool_pointer.compare_exchange_strong(current, fresh.get(), std::memory_order_acq_rel)) {
            current = fresh.release();
#if !defined(_WIN32)
            static const int registered =
                pthread_atfork(nullptr, nullptr, [] { pool_pointer.store(nullptr, std::memory_order_release); });
            static_cast<void>(registered);
#endif
        }
    }
    return *current;
}

// What the control group of this process may have of the processors, by version 2 or 1; infinity without a limit.
double cgroup_quota() {
    double quota = std::numeric_limits<double>::infinity(), limit = 0, period = 0;
    std::string group, line;
    std::ifstream groups("/proc/self/cgroup");
    while (std::getline(groups, line)) {
        if (line.compare(0, 4, "0::/") == 0) group = line.substr(3);
    }
    while (true) {  // this group and those around it
        std::ifstream v2("/sys/fs/cgroup" + group + "/cpu.max");
        if (v2 >> limit >> period && period > 0) quota = std::min(quota, limit / period);  // no number: "max"
        if (group.empty()) break;
        group.resize(group.rfind('/'));
    }
    std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (v1_quota >> limit && v1_period >> period && limit > 0 && period > 0) quota = std::min(quota, limit / period);
    return quota;
}

std::size_t usable_processors() {
    std::size_t count = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_threads);
#if defined(__linux__)
    cpu_set_t set;  // holds 1,024 of them; of more the kernel says nothing
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = static_cast<std::size_t>(CPU_COUNT(&set));
#endif
    const double quota = std::ceil(cgroup_quota());
    return quota < static_cast<double>(count) ? std::max<std::size_t>(1, static_cast<std::size_t>(quota)) : count;
}

// What joblib, torch and others set in their worker processes, so that these share the processors; 0 where it is no
// number.
std::size_t openmp_threads() {
    const char* variable = std::getenv("OMP_NUM_THREADS");
    std::size_t threads = 0;  // which from_chars leaves alone where there is no number
    if (variable != nullptr) std::from_chars(variable, variable + std::strlen(variable), threads);
    return threads;
}

std::size_t automatic_threads() {
    const char* variable = std::getenv("FUSEDNET_NUM_THREADS");
    if (variable == nullptr || *variable == '\0') {
        const std::size_t limit = openmp_threads();
        return limit > 0 ? std::min(limit, usable_processors()) : usable_processors();
    }
    // Not strtol: a recent glibc's headers turn it into a symbol that older systems lack.
    const char* const end = variable + std::strlen(variable);
    std::size_t threads = 0;
    const auto [rest, error] = std::from_chars(variable, end, threads);
    check(error == std::errc() && rest == end && threads >= 1 && threads <= most_threads,
          "FUSEDNET_NUM_THREADS: expected a whole number from 1 to ", most_threads, ", received '", variable, "'");
    return threads;
}

std::atomic<std::size_t> num_threads{0};  // 0: not settled yet
std::atomic<double> parallel_threshold{default_parallel_threshold};
thread_local bool alone = false;

}  // namespace

std::size_t get_num_threads() {
    std::size_t threads = num_threads.load(std::memory_order_relaxed);
    if (threads == 0) {
        threads = automatic_threads();
        num_threads.store(threads, std::memory_order_relaxed);
    }
    return threads;
}

void set_num_threads(std::optional<std::size_t> threads) {
    check(!threads || (*threads >= 1 && *threads <= most_threads), "num_threads: expected a whole number from 1 to ",
          most_threads, ", or None for automatic; received ", threads.value_or(0));
    num_threads.store(threads ? *threads : automatic_threads(), std::memory_order_relaxed);
}

std::size_t threads_for(double flops, std::size_t sections) {
    const double threshold = parallel_threshold.load(std::memory_order_relaxed);
    return flops < threshold || 60 * flops < threshold * static_cast<double>(sections) ? 1 : get_num_threads();
}

void set_parallel_threshold(double flops) { parallel_threshold.store(flops, std::memory_order_relaxed); }

void use_one_thread() { alone = true; }

Team::Team(std::size_t wanted) : size_(alone ? 1 : std::min(wanted, get_num_threads())) {
    if (size_ <= 1) return;
    ThreadPool& shared = pool();
    if (!shared.try_own()) {
        size_ = 1;
        return;
    }
    pool_ = &shared;
    size_ = 1 + pool_->set_workers(size_ - 1);
}

Team::~Team() {
    if (pool_ != nullptr) pool_->disown();
}

void Team::run_parallel(std::size_t count, TaskBody body) const { pool_->run(count, body); }

}  // namespace fusednet
