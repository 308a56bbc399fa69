"""Fit the polynomials of csrc/kernels and print their coefficients as C++ (needs mpmath).

Each fit is a Chebyshev interpolation in 60 digits, turned into monomials: within a small factor of the
minimax polynomial, and free of its iteration. The printed error is that of the rounded one.
"""

import numpy as np
from mpmath import chebyfit, erfc, exp, expm1, fabs, floor, linspace, log, log1p, mp, mpf, polyval, sqrt, tanh

mp.dps = 60


def exp_tail(r):
    """(eʳ − 1 − r) / r², whose polynomial gives both eʳ and eʳ − 1."""
    return sum(r**k / mp.factorial(k + 2) for k in range(30)) if fabs(r) < 0.1 else (expm1(r) - r) / r**2


def tanh_tail(u):
    """(tanh r − r) / r³ with u = r²."""
    r = sqrt(u)
    return (tanh(r) / r - 1) / u if u else mpf(-1) / 3


def log1p_tail(u):
    """(2·atanh(s) − 2s) / s³ with u = s²: log1p(t) = 2s + s³·tail(s²), s = t / (2 + t)."""
    return sum(2 * u**k / (2 * k + 3) for k in range(60))


def tail_slope(center):
    """(g − 1) / u with g = 2·(1 + y)·e^(y²/2)·Φ(−y) and u = 2y / (y + c), as a function of u − 1.

    At y = 0, g is 1: 1 + u·slope has no rounding error there.
    """

    def slope(q):
        if q == -1:
            return center / 2 * (1 - sqrt(2 / mp.pi))
        y = center * (1 + q) / (1 - q)
        return ((1 + y) * exp(y * y / 2) * erfc(y / sqrt(mpf(2))) - 1) / (1 + q)

    return slope


def normal_center(u):
    """(Φ(x) − 1/2) / x with u = x²."""
    terms = ((-u / 2) ** k / (mp.factorial(k) * (2 * k + 1)) for k in range(40))
    return sum(terms) / sqrt(2 * mp.pi)


def root_slope(e):
    """((1 − e)^−½ − 1) / e."""
    return (1 / sqrt(1 - e) - 1) / e if e else mpf(1) / 2


def nearest(x, dtype=np.float32):
    return mpf(float(dtype(float(x))))


def fit(name, function, interval, terms, dtype, relative_to=None):
    coefficients = chebyfit(function, interval, terms)[::-1]
    rounded = [nearest(c, dtype) for c in coefficients]
    weight = relative_to or function
    error = max(fabs((polyval(rounded[::-1], x) - function(x)) / weight(x)) for x in linspace(*interval, 997))
    digits = 9 if dtype is np.float32 else 17
    print(f"// {name}: {terms} terms, relative error {mp.nstr(error, 2)}")
    print(", ".join(f"{float(c):.{digits}g}" for c in rounded))


def tanh_segment(low, high):
    """Return a center of the segment and the polynomial of tanh about it, its constant first.

    Of the centers near the middle it is the one whose constant loses least when it is rounded. That of the
    first segment is zero: there an error counts relative to r, so the fit leaves out what lies near it.
    """
    if low == 0:
        odd = chebyfit(lambda r: (tanh(r) / r - 1) / r**2, [high / 2, high], 3)
        return mpf(0), [mpf(0), mpf(1), mpf(0), *odd[::-1]]

    def fitted(center):
        return chebyfit(lambda r: tanh(center + r), [low - center, high - center], 6)[::-1]

    middle, half = (low + high) / 2, (high - low) / 2
    excess = fitted(middle)[0] - tanh(middle)

    def loss(center):
        constant = tanh(center) + excess
        return fabs(nearest(constant) - constant)

    center = min((middle + half * k / 512 for k in range(-32, 33)), key=loss)
    return center, fitted(center)


def tanh_segments():
    """Print the tables of tanh for float32: 16 segments of [0, 9.375), their centers and polynomials.

    A segment is a quarter of an octave of |x| + 5/8; its place in the tables is given by the lowest two bits
    of the sum's exponent and the first two of its mantissa.
    """
    start = offset = mpf(5) / 8
    rows, worst = [None] * 16, mpf(0)
    for place in [*range(9, 16), *range(9)]:
        end = start + mpf(2) ** floor(log(start, 2)) / 4
        low, high = start - offset, end - offset
        center, exact = tanh_segment(low, high)
        rounded = [nearest(c) for c in exact]
        for x in linspace(low or mpf(10) ** -6, high, 101):
            worst = max(worst, fabs(polyval(rounded[::-1], x - center) / tanh(x) - 1))
        rows[place] = [center, *rounded]
        start = end
    print(f"// tanh: relative error {mp.nstr(worst, 2)}")
    for name, column in zip(("center", *(f"c{k}" for k in range(6))), zip(*rows, strict=True), strict=True):
        print(f"// {name}\n" + ", ".join(f"{float(c):.9g}f" if c % 1 else f"{int(c)}.0f" for c in column))


half_ln2 = log(mpf(2)) / 2 * mpf("1.001")
# Numbers of terms; the tail's c, and the largest y it is for.
CASES = ((np.float32, 5, 3, 4, 10, 2.5, 16), (np.float64, 10, 6, 10, 22, 6, 40))
for dtype, exp_terms, tanh_terms, log_terms, tail_terms, center, largest in CASES:
    print(f"// {dtype.__name__}")
    fit("exp", exp_tail, [-half_ln2, half_ln2], exp_terms, dtype, lambda r: exp(r) / (r * r + mpf(10) ** -30))
    squares = [mpf(0), (half_ln2 / 2) ** 2]
    fit("tanh", tanh_tail, squares, tanh_terms, dtype, lambda u: 1 / (u + mpf(10) ** -30))
    fit("log1p", log1p_tail, [mpf(0), mpf(1) / 9], log_terms, dtype, lambda u: 2 / (u + mpf(10) ** -30))
    fit("normal", normal_center, [mpf(0), mpf(9) / 16], 5 if dtype is np.float32 else 9, dtype)
    tail = [mpf(-1), mpf(largest - center) / (largest + center)]
    fit("tail", tail_slope(mpf(center)), tail, tail_terms, dtype, lambda q: 1 / (1 + q + mpf(10) ** -30))
assert log1p(mpf(1)) - (2 * mpf(1) / 3 + log1p_tail(mpf(1) / 9) / 27) < mpf(10) ** -40
tanh_segments()
print("// arithmetic.h")
# For the e = 1 − v·y² that an estimate y of 1/√v within 1.5 · 2⁻¹² leaves, and one within 2⁻¹⁴.
for name, widest, terms in (("coarse", 3 * mpf(2) ** -12, 4), ("fine", mpf(2) ** -13, 3)):
    interval = [-widest, widest]
    fit(f"root, {name}", root_slope, interval, terms, np.float64, lambda e: 1 / (fabs(e) + mpf(10) ** -30))
