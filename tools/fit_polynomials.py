"""Fit the polynomials of csrc/kernels/elementary.inl and print their coefficients as C++ (needs mpmath).

Each fit is a Chebyshev interpolation in 60 digits, turned into monomials: within a small factor of the
minimax polynomial, and free of its iteration. The printed error is that of the rounded one.
"""

import numpy as np
from mpmath import chebyfit, erfc, exp, expm1, fabs, linspace, log, log1p, mp, mpf, polyval, sqrt

mp.dps = 60


def exp_tail(r):
    """(eʳ − 1 − r) / r², whose polynomial gives both eʳ and eʳ − 1."""
    return sum(r**k / mp.factorial(k + 2) for k in range(30)) if fabs(r) < 0.1 else (expm1(r) - r) / r**2


def log1p_tail(u):
    """(2·atanh(s) − 2s) / s³ with u = s²: log1p(t) = 2s + s³·tail(s²), s = t / (2 + t)."""
    return sum(2 * u**k / (2 * k + 3) for k in range(60))


def erfc_factor(center):
    """(1 + 2t)·e^(t²)·erfc(t) as a function of q = (t − c) / (t + c), smooth over all t ≥ 0."""

    def factor(q):
        if q == 1:
            return 2 / sqrt(mp.pi)
        t = center * (1 + q) / (1 - q)
        if t > 30:  # the asymptotic series, where erfc underflows
            series = sum((-1) ** k * mp.fac2(2 * k - 1) / (2 * t * t) ** k for k in range(20))
            return (1 + 2 * t) * series / (t * sqrt(mp.pi))
        return (1 + 2 * t) * exp(t * t) * erfc(t)

    return factor


def normal_center(u):
    """(Φ(x) − 1/2) / x with u = x²."""
    terms = ((-u / 2) ** k / (mp.factorial(k) * (2 * k + 1)) for k in range(40))
    return sum(terms) / sqrt(2 * mp.pi)


def fit(name, function, interval, terms, dtype, relative_to=None):
    coefficients = chebyfit(function, interval, terms)[::-1]
    rounded = [mpf(float(dtype(float(c)))) for c in coefficients]
    weight = relative_to or function
    error = max(fabs((polyval(rounded[::-1], x) - function(x)) / weight(x)) for x in linspace(*interval, 997))
    digits = 9 if dtype is np.float32 else 17
    print(f"// {name}: {terms} terms, relative error {mp.nstr(error, 2)}")
    print(", ".join(f"{float(c):.{digits}g}" for c in rounded))


half_ln2 = log(mpf(2)) / 2 * mpf("1.001")
CASES = ((np.float32, 5, 4, 12, 2), (np.float64, 10, 10, 24, 4))
for dtype, exp_terms, log_terms, erfc_terms, center in CASES:
    print(f"// {dtype.__name__}")
    fit("exp", exp_tail, [-half_ln2, half_ln2], exp_terms, dtype, lambda r: exp(r) / (r * r + mpf(10) ** -30))
    fit("log1p", log1p_tail, [mpf(0), mpf(1) / 9], log_terms, dtype, lambda u: 2 / (u + mpf(10) ** -30))
    fit("normal", normal_center, [mpf(0), mpf(9) / 16], 5 if dtype is np.float32 else 9, dtype)
    fit("erfc", erfc_factor(mpf(center)), [mpf(-1), mpf("0.97")], erfc_terms, dtype)
assert log1p(mpf(1)) - (2 * mpf(1) / 3 + log1p_tail(mpf(1) / 9) / 27) < mpf(10) ** -40
