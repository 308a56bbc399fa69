// tanh of 16 floats from a table of 16 pieces: no division, no exponential. The table: tools/fit_polynomials.py.
#pragma once

#include "vec.h"

namespace fusednet::FUSEDNET_SET {

#if FUSEDNET_VECTOR_BYTES == 64

// Half an octave each, from 1/16 up: tanh(center + r) = c0 + c1·r + … + c6·r⁶.
struct TanhPieces {
    static constexpr float center[16] = {2.5f,     3.5f,     5.0f,    7.0f,    10.0f,  0.0f,   0.078125f, 0.109375f,
                                         0.15625f, 0.21875f, 0.3125f, 0.4375f, 0.625f, 0.875f, 1.25f,     1.75f};
    static constexpr float c0[16] = {0.986614287f, 0.998177886f, 0.999909222f,  0.999998331f,
                                     1.0f,         0.0f,         0.0779664442f, 0.108940929f,
                                     0.154990733f, 0.215326339f, 0.302709728f,  0.411570042f,
                                     0.554599702f, 0.703905582f, 0.848283648f,  0.941375554f};
    static constexpr float c1[16] = {0.0265923385f,   0.00364095578f, 0.000181858966f, 3.33119829e-06f,
                                     9.32062072e-09f, 1.0f,           0.99392122f,     0.988131881f,
                                     0.975977898f,    0.95363456f,    0.908366799f,    0.830610096f,
                                     0.692419171f,    0.5045169f,     0.28041476f,     0.113812044f};
    static constexpr float c2[16] = {
        -0.0262361951f, -0.00363426586f, -0.000181633892f, -3.32735158e-06f, -8.49435988e-09f, 0.0f,
        -0.0774925053f, -0.107648008f,   -0.151267529f,    -0.205342636f,    -0.274971485f,    -0.341854244f,
        -0.384015471f,  -0.355132282f,   -0.237871364f,    -0.1071399f};
    static constexpr float c3[16] = {0.0170173794f,   0.00241172756f, 0.0001188311f, 2.17695651e-06f,
                                     3.39692252e-09f, -0.333333313f,  -0.325265259f, -0.31765002f,
                                     -0.301880866f,   -0.273662478f,  -0.219552398f, -0.136173368f,
                                     -0.017837828f,   0.0818049312f,  0.108326137f,  0.0629282296f};
    static constexpr float c4[16] = {-0.00805013347f,  -0.00119769503f,  -5.99548512e-05f, -1.09876123e-06f,
                                     -2.25878871e-09f, -3.27997645e-06f, 0.0511906072f,    0.0704877526f,
                                     0.0972112268f,    0.127374262f,     0.158117428f,     0.169995964f,
                                     0.13789548f,      0.0607949533f,    -0.0125845121f,   -0.0235224459f};
    static constexpr float c5[16] = {0.00288762478f,  0.000490369508f, 2.84743473e-05f, 5.22717187e-07f,
                                     2.07201145e-09f, 0.133595869f,    0.126496702f,    0.120143615f,
                                     0.107186332f,    0.0849474669f,   0.0455060638f,   -0.00596181583f,
                                     -0.0543354079f,  -0.0585474186f,  -0.0196909122f,  0.0034823285f};
    static constexpr float c6[16] = {-0.000700921926f, -0.000156666618f, -9.09981827e-06f, -1.67354528e-07f,
                                     -5.96311556e-10f, -0.00672871061f,  -0.0286434535f,   -0.0389703363f,
                                     -0.0523440763f,   -0.0652699247f,   -0.0723985136f,   -0.0616372153f,
                                     -0.02403979f,     0.012994145f,     0.0150892772f,    0.00207437156f};
};

// A piece is found by the lowest three bits of the exponent and the first one of the mantissa. The numbers below 1/16
// have the place of [12, 16), which none need: beyond 10, tanh is 1. (As many pieces as a register has elements: a
// look-up in two has three operands, as a multiply-add has, and a Zen 4 does not do both at once.)
FUSEDNET_INLINE Vec<float> tanh_by_pieces(Vec<float> x) {
    using P = TanhPieces;
    const Ints<float> sign = bits<float>(x) & bits<float>(broadcast(-0.0f));
    const Vec<float> size = (Vec<float>)(bits<float>(x) ^ sign);
    const Vec<float> bounded = smaller(broadcast(10.0f), size);
    constexpr Int<float> below_first = 0x3d7fffff;  // the number before 1/16
    const Ints<float> pattern = bits<float>(bounded), first = broadcast_int<float>(below_first);
    const Ints<float> piece = (pattern > first ? pattern : first) >> 22;
    const Vec<float> r = bounded - lookup(P::center, piece);
    Vec<float> p = fma(lookup(P::c6, piece), r, lookup(P::c5, piece));
    p = fma(p, r, lookup(P::c4, piece));
    p = fma(p, r, lookup(P::c3, piece));
    p = fma(p, r, lookup(P::c2, piece));
    p = fma(p, r, lookup(P::c1, piece));
    return (Vec<float>)(bits<float>(fma(p, r, lookup(P::c0, piece))) | sign);
}

#endif

}  // namespace fusednet::FUSEDNET_SET
