// The element types of the caller's arrays. Their functions are inlined everywhere, as this header is seen by
// translation units compiled for different processors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel_table.h"

namespace fusednet {

// IEEE 754 binary16, which C++17 has no type for.
struct Float16 {
    std::uint16_t bits;

    FUSEDNET_INLINE operator float() const {  // NOLINT(google-explicit-constructor): what an arithmetic type does
        // The exponent's bias is 15 there and 127 here: a product with 2¹¹² takes subnormal numbers along.
        std::uint32_t magnitude = (std::uint32_t{bits} << 13) & 0x0fffe000U;
        float value;
        __builtin_memcpy(&value, &magnitude, sizeof value);
        value *= 0x1p112F;
        __builtin_memcpy(&magnitude, &value, sizeof value);
        if ((bits & 0x7c00U) == 0x7c00U) magnitude |= 0x7f800000U;  // infinity and NaN
        magnitude |= (std::uint32_t{bits} & 0x8000U) << 16;
        __builtin_memcpy(&value, &magnitude, sizeof value);
        return value;
    }
};

// NumPy's, of which any byte but zero is true: a view of other bytes may have others than C++'s bool.
struct Boolean {
    std::uint8_t byte;

    FUSEDNET_INLINE operator int() const { return byte != 0 ? 1 : 0; }  // NOLINT(google-explicit-constructor)
};

// Calls body(S{}) with the C++ type of the dtype.
template <class Body>
FUSEDNET_INLINE auto with_type(DType dtype, const Body& body) {
    switch (dtype) {
        case DType::boolean: return body(Boolean{});
        case DType::int8: return body(std::int8_t{});
        case DType::int16: return body(std::int16_t{});
        case DType::int32: return body(std::int32_t{});
        case DType::int64: return body(std::int64_t{});
        case DType::uint8: return body(std::uint8_t{});
        case DType::uint16: return body(std::uint16_t{});
        case DType::uint32: return body(std::uint32_t{});
        case DType::uint64: return body(std::uint64_t{});
        case DType::float16: return body(Float16{});
        case DType::float32: return body(float{});
        case DType::float64: break;
    }
    return body(double{});
}

FUSEDNET_INLINE std::size_t element_bytes(DType dtype) {
    return with_type(dtype, [](auto tag) { return sizeof tag; });
}

// By copy: an array's elements need not be aligned.
template <class S>
FUSEDNET_INLINE S element(const char* address) {
    S value;
    __builtin_memcpy(&value, address, sizeof value);
    return value;
}

template <class T>
constexpr DType dtype_of = sizeof(T) == sizeof(float) ? DType::float32 : DType::float64;

// Whether each row is an array of S, float or double.
template <class S>
FUSEDNET_INLINE bool has_rows_of(const SourceRows& a) {
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(S));
    return a.dtype == dtype_of<S> && (a.column_stride == size || a.columns == 1) && a.row_stride % size == 0 &&
           reinterpret_cast<std::uintptr_t>(a.data) % alignof(S) == 0;
}

}  // namespace fusednet
