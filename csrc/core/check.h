// Errors that public entry points raise. The bindings turn std::invalid_argument into ValueError, TypeError into
// TypeError and DivergenceError into fusednet.DivergenceError.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace fusednet {

struct TypeError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

struct DivergenceError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class... Parts>
std::string text(const Parts&... parts) {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
}

template <class Error = std::invalid_argument, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    throw Error(text(parts...));
}

// For messages whose parts cost nothing to name: they are evaluated whether or not the condition holds.
template <class Error = std::invalid_argument, class... Parts>
void check(bool condition, const Parts&... parts) {
    if (!condition) fail<Error>(parts...);
}

}  // namespace fusednet
