// tanh of 16 floats from a table of 16 pieces: no division, no exponential. The table: tools/fit_polynomials.py.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

#if FUSEDNET_VECTOR_BYTES == 64

// A quarter of an octave of |x| + 5/8 each: tanh(center + r) = c0 + c1·r + … + c5·r⁵.
struct TanhPieces {
    static constexpr float center[16] = {
        1.61572266f, 2.12207031f, 2.61328125f,  3.12695312f,  3.87109375f,  4.85742188f,  5.86328125f,  6.88671875f,
        8.31835938f, 0.0f,        0.189941406f, 0.313354492f, 0.505371094f, 0.752929688f, 0.999511719f, 1.24926758f};
    static constexpr float c0[16] = {0.924001276f, 0.971709788f, 0.989313483f, 0.99616152f, 0.999132097f, 0.999879241f,
                                     0.999983847f, 0.999997914f, 0.999999881f, 0.0f,        0.187689677f, 0.303485721f,
                                     0.466330737f, 0.636893511f, 0.761389017f, 0.848078132f};
    static constexpr float c1[16] = {0.146221846f,    0.0557800718f,  0.02125879f,     0.007662219f,
                                     0.00173496618f,  0.00024148135f, 3.23041495e-05f, 4.17206002e-06f,
                                     2.37555611e-07f, 1.0f,           0.964772582f,    0.907896399f,
                                     0.782535732f,    0.59436667f,    0.420286775f,    0.280763477f};
    static constexpr float c2[16] = {
        -0.135118186f,    -0.0542008653f,   -0.0210302826f,   -0.007632141f, -0.00173078442f, -0.000241093279f,
        -3.22539854e-05f, -4.16514604e-06f, -2.32266203e-07f, 0.0f,          -0.181077361f,   -0.275532991f,
        -0.364913791f,    -0.378548115f,    -0.320004314f,    -0.238111451f};
    static constexpr float c3[16] = {0.0760921165f,   0.034076605f,   0.0137231797f,   0.00504904892f,
                                     0.00115334755f,  0.00016111166f, 2.15466625e-05f, 2.77591721e-06f,
                                     1.60696203e-07f, -0.333344668f,  -0.287607551f,   -0.21901308f,
                                     -0.0907004401f,  0.042969469f,   0.103549004f,    0.108347118f};
    static constexpr float c4[16] = {-0.0248832759f,   -0.0150949406f,   -0.00662238989f,  -0.0025140692f,
                                     -0.000603398599f, -8.44291353e-05f, -1.13095393e-05f, -1.46162745e-06f,
                                     -9.54950963e-08f, 0.000344438507f,  0.113994256f,     0.157887608f,
                                     0.162784934f,     0.0987935811f,    0.0282657016f,    -0.0121614011f};
    static constexpr float c5[16] = {0.00120146014f,  0.00445986353f,  0.0023565751f,   0.000973896589f,
                                     0.000234429288f, 3.21515872e-05f, 4.35905895e-06f, 5.90077661e-07f,
                                     3.26636389e-08f, 0.130475089f,    0.0965507105f,   0.0455061123f,
                                     -0.026557561f,   -0.0635297373f,  -0.046248965f,   -0.0193030089f};
};

// A piece is found by the lowest two bits of that sum's exponent and the first two of its mantissa. Beyond 9.25 tanh is
// 1. (As many pieces as a register has elements: a look-up in two has three operands, as a multiply-add has, and a Zen
// 4 does not do both at once.)
FUSEDNET_INLINE Vec<float> tanh_by_pieces(Vec<float> x) {
    using P = TanhPieces;
    const Ints<float> sign = bits<float>(x) & bits<float>(broadcast(-0.0f));
    const Vec<float> size = (Vec<float>)(bits<float>(x) ^ sign);
    const Vec<float> bounded = smaller(broadcast(9.25f), size);
    const Ints<float> piece = bits<float>(bounded + 0.625f) >> 21;
    const Vec<float> r = bounded - lookup(P::center, piece);
    Vec<float> p = fma(lookup(P::c5, piece), r, lookup(P::c4, piece));
    p = fma(p, r, lookup(P::c3, piece));
    p = fma(p, r, lookup(P::c2, piece));
    p = fma(p, r, lookup(P::c1, piece));
    return (Vec<float>)(bits<float>(fma(p, r, lookup(P::c0, piece))) | sign);
}

#endif

}  // namespace fusednet::FUSEDNET_SET
