// Giving the GIL up and taking it back. While the interpreter shuts down, Python before 3.14 ends a daemon thread that
// asks for the GIL by unwinding its frames, and to unwind those of C++ would end the process. Such a thread sleeps for
// good instead, as from Python 3.14 on.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <optional>
#include <thread>
#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace fusednet {

namespace py = pybind11;

// For a call of Python's or NumPy's that may give the GIL up on its way: the body holds no Python object of its own,
// which unwinding would let go of without the GIL.
template <class Body>
auto unless_finalizing(Body body) {
#if defined(__GLIBCXX__)
    try {
        return body();
    } catch (const abi::__forced_unwind&) {
        while (true) std::this_thread::sleep_for(std::chrono::hours(1));
    }
#else
    return body();
#endif
}

class ReleaseGil {
public:
    ReleaseGil() : state_(PyEval_SaveThread()) {}
    ~ReleaseGil() {
        unless_finalizing([this] { PyEval_RestoreThread(state_); });
    }
    ReleaseGil(const ReleaseGil&) = delete;
    ReleaseGil& operator=(const ReleaseGil&) = delete;

private:
    PyThreadState* state_;
};

// Releases the GIL where the work takes longer than about 10 µs.
class ReleaseFor {
public:
    explicit ReleaseFor(double flops) {
        if (flops > 5e5) release_.emplace();
    }

private:
    std::optional<ReleaseGil> release_;
};

class AcquireGil {
public:
    AcquireGil() {
        unless_finalizing([this] { gil_.emplace(); });
    }

private:
    std::optional<py::gil_scoped_acquire> gil_;
};

// function(*arguments), for a thread that took the GIL in the midst of C++.
inline py::object call_python(const py::object& function, const py::tuple& arguments) {
    PyObject* result = unless_finalizing([&] { return PyObject_CallObject(function.ptr(), arguments.ptr()); });
    if (result == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(result);
}

}  // namespace fusednet
