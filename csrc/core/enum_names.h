// Enumerations that people name by strings.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "core/check.h"

namespace fusednet {

// The enumerator whose name stands at its place in `names`; throws std::invalid_argument listing them.
template <class Enum, std::size_t count>
Enum enum_from_name(const char* what, const char* const (&names)[count], const std::string& name) {
    std::string known;
    for (std::size_t i = 0; i < count; ++i) {
        if (name == names[i]) return static_cast<Enum>(i);
        known += (i == 0 ? "" : ", ") + std::string(names[i]);
    }
    throw std::invalid_argument(text(what, ": expected one of ", known, "; received '", name, "'"));
}

}  // namespace fusednet
