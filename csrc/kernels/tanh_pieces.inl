// tanh of 16 floats from a table of 32 pieces: no division, no exponential. The table: tools/fit_polynomials.py.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

#if FUSEDNET_VECTOR_BYTES == 64

// A quarter of an octave each, from 1/16 up: tanh(center + r) = c0 + c1·r + … + c5·r⁵.
struct TanhPieces {
    static constexpr float center[32] = {
        2.25f,     2.75f,     3.25f,     3.75f,     4.5f,       5.5f,       6.5f,       7.5f,
        9.0f,      11.0f,     13.0f,     0.0f,      0.0703125f, 0.0859375f, 0.1015625f, 0.1171875f,
        0.140625f, 0.171875f, 0.203125f, 0.234375f, 0.28125f,   0.34375f,   0.40625f,   0.46875f,
        0.5625f,   0.6875f,   0.8125f,   0.9375f,   1.125f,     1.375f,     1.625f,     1.875f};
    static constexpr float c0[32] = {
        0.978026092f, 0.991859734f, 0.996997654f, 0.998894453f, 0.999753177f, 0.999966621f,  0.99999547f,
        0.999999404f, 0.99999994f,  1.0f,         1.0f,         0.0f,         0.0701968595f, 0.0857265666f,
        0.101214729f, 0.116653986f, 0.1397053f,   0.170202315f, 0.200376719f, 0.230175704f,  0.27406159f,
        0.330821127f, 0.385283977f, 0.437188774f, 0.509829998f, 0.596373558f, 0.670967102f,  0.734071493f,
        0.809301078f, 0.879826725f, 0.925346255f, 0.954045236f};
    static constexpr float c1[32] = {
        0.0434649177f,   0.0162142869f,   0.0059957155f,   0.0022098925f,   0.000493520463f, 6.68049906e-05f,
        9.04133412e-06f, 1.22361632e-06f, 6.09461921e-08f, 1.11626841e-09f, 2.04451699e-11f, 1.0f,
        0.995072424f,    0.992650926f,    0.989755571f,    0.986391842f,    0.980482399f,    0.971031189f,
        0.959849179f,    0.94701916f,     0.92489022f,     0.890557408f,    0.851556242f,    0.808865964f,
        0.740073383f,    0.644338608f,    0.549803197f,    0.461138994f,    0.345031768f,    0.225904971f,
        0.143734366f,    0.0897976384f};
    static constexpr float c2[32] = {
        -0.0425082371f,   -0.0160811003f,   -0.00597717939f,  -0.00220723939f,  -0.00049261091f,  -6.66953492e-05f,
        -9.02674219e-06f, -1.22164602e-06f, -5.92317839e-08f, -1.08486797e-09f, -1.98700518e-11f, 0.0f,
        -0.0698509589f,   -0.0850965604f,   -0.100177847f,    -0.115066543f,    -0.136978596f,    -0.165271744f,
        -0.192331418f,    -0.217980802f,    -0.253476858f,    -0.294615149f,    -0.328090936f,    -0.353627086f,
        -0.377311289f,    -0.384266406f,    -0.368899912f,    -0.338509142f,    -0.279237121f,    -0.198758736f,
        -0.133004621f,    -0.0856711045f};
    static constexpr float c3[32] = {0.0270876437f,   0.01054639f,    0.00396105787f,  0.00146832026f,  0.000328546972f,
                                     4.45015576e-05f, 6.0233192e-06f, 8.15180215e-07f, 4.01417672e-08f, 7.35222161e-10f,
                                     1.34660642e-11f, -0.333333373f,  -0.326787472f,   -0.32358861f,    -0.319779038f,
                                     -0.315374315f,   -0.307690829f,  -0.295547426f,   -0.281410992f,   -0.265499175f,
                                     -0.238828465f,   -0.199387535f,  -0.157443911f,   -0.115020186f,   -0.0543266311f,
                                     0.0143866194f,   0.0642517731f,  0.0947767645f,   0.11097461f,     0.0995709151f,
                                     0.0751637444f,   0.0518016405f};
    static constexpr float c4[32] = {
        -0.012390377f,    -0.00515112933f,  -0.0019794968f,   -0.000739871874f, -0.000172545857f, -2.33977644e-05f,
        -3.16739033e-06f, -4.28675179e-07f, -2.47095322e-08f, -4.52571064e-10f, -8.28912806e-12f, 1.06863363e-05f,
        0.046220731f,     0.0561027937f,    0.065755628f,     0.0751413926f,    0.0886279121f,    0.105372861f,
        0.120475739f,     0.133746982f,     0.149840876f,     0.164061487f,     0.169927269f,     0.168078661f,
        0.153249413f,     0.119441003f,     0.0798982307f,    0.0433629788f,    0.00370061724f,   -0.0210951641f,
        -0.0251212399f,   -0.020848915f};
    static constexpr float c5[32] = {
        0.00397852808f,  0.00191317464f,  0.000769519655f, 0.000292235956f, 6.79071672e-05f, 9.22523395e-06f,
        1.24914141e-06f, 1.69064663e-07f, 9.35830613e-09f, 1.71403489e-10f, 3.13936442e-12f, 0.132978141f,
        0.127792567f,    0.125107616f,    0.121927582f,    0.118274607f,    0.111953393f,    0.102143951f,
        0.0909789726f,   0.0787467733f,   0.0590575002f,   0.0319528244f,   0.0059238649f,   -0.0171651114f,
        -0.0435074829f,  -0.0615942068f,  -0.0626845509f,  -0.053066019f,   -0.0320285298f,  -0.00949542131f,
        0.00140635262f,  0.00460564625f};
};

// A piece is found by the lowest three bits of the exponent and the first two of the mantissa. The numbers below 1/16
// have the place of [14, 16), which none need: beyond 10, tanh is 1.
FUSEDNET_INLINE Vec<float> tanh_by_pieces(Vec<float> x) {
    using P = TanhPieces;
    const Ints<float> sign = bits<float>(x) & bits<float>(broadcast(-0.0f));
    const Vec<float> size = (Vec<float>)(bits<float>(x) ^ sign);
    const Vec<float> bounded = smaller(broadcast(10.0f), size);
    constexpr Int<float> below_first = 0x3d7fffff;  // the number before 1/16
    const Ints<float> pattern = bits<float>(bounded), first = broadcast_int<float>(below_first);
    const Ints<float> piece = (pattern > first ? pattern : first) >> 21;
    const Vec<float> r = bounded - lookup(P::center, piece);
    Vec<float> p = fma(lookup(P::c5, piece), r, lookup(P::c4, piece));
    p = fma(p, r, lookup(P::c3, piece));
    p = fma(p, r, lookup(P::c2, piece));
    p = fma(p, r, lookup(P::c1, piece));
    return (Vec<float>)(bits<float>(fma(p, r, lookup(P::c0, piece))) | sign);
}

#endif

}  // namespace fusednet::FUSEDNET_SET
