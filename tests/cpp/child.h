// A check in a process of its own: for what is settled once a process, and for what a fork leaves. Windows has none.
#pragma once

#if !defined(_WIN32)
#define FUSEDNET_TESTS_CHILD

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace fusednet::testing {

// Forks and runs the body there; true where it returned true. It must not use doctest's macros.
template <class Body>
bool in_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        bool good = false;
        try {
            good = body();
        } catch (...) {  // not good
        }
        std::_Exit(good ? 0 : 1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace fusednet::testing

#endif
