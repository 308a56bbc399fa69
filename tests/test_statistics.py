"""What predictions are summed up to in the core, and what it says of arrays that don't fit."""

import numpy as np
import pytest

from fusednet import _core as core
from fusednet._moments import Moments

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (50, 3), (40, 17), (5,)])
def test_moments_are_numpys(dtype, shape):
    values = (RNG.normal(size=(7, *shape)) + 1000).astype(dtype)
    moments = Moments(shape)
    for some in values:
        moments.add(some)
    wide = values.astype("float64")
    np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.variance(), wide.var(axis=0), rtol=1e-9)


def test_moments_of_some_rows():
    values, taken = RNG.normal(size=(7, 50, 3)), RNG.random((7, 50)) < 0.4
    moments = Moments((50, 3))
    for some, mask in zip(values, taken, strict=True):
        moments.add(some[mask], np.flatnonzero(mask))
    np.testing.assert_array_equal(moments.count[:, 0], taken.sum(axis=0))
    for row in range(50):
        own = values[taken[:, row], row]
        expected = (own.mean(axis=0), own.var(axis=0)) if len(own) else (0, 0)
        np.testing.assert_allclose(moments.mean[row], expected[0], rtol=1e-12)
        np.testing.assert_allclose(moments.variance()[row], expected[1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("values", "rows", "words"),
    [
        (np.zeros((4, 2)), None, r"3 rows of 2, received shape \(4, 2\)"),
        (np.zeros((1, 3)), np.array([0]), r"1 rows of 2, received shape \(1, 3\)"),
        (np.zeros((1, 2)), np.array([3]), "from 0 to 2, received 3"),
        (np.zeros((1, 2)), np.array([-1]), "from 0 to 2, received -1"),
        (np.zeros((0, 2)), np.array([], dtype=int), "at least one"),
    ],
)
def test_moments_of_what_does_not_fit(values, rows, words):
    moments = Moments((3, 2))
    with pytest.raises(ValueError, match=words):
        moments.add(values, rows)
    assert not moments.count.any()


def test_r2_of_what_does_not_fit():
    for shape in [(3, 1), (2, 2), (3,)]:
        with pytest.raises(ValueError, match="as the prediction's"):
            core.r2(np.zeros((3, 2)), np.zeros(shape))
    with pytest.raises(ValueError, match="at least one column"):
        core.r2(np.zeros((3, 0)), np.zeros((3, 0)))
