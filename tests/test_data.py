"""Anything that holds numbers goes in; what doesn't is refused by name."""

import datetime
import decimal
import fractions

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import fusednet as fn
from fusednet._data import as_array, as_weights, rows_together
from fusednet._sources import make_source

ROWS = [[0.5, -1.0, 2.0], [1.5, 0.25, -3.0], [0.0, 4.0, 1.0], [-2.0, 0.125, 0.75]]
PLAIN = np.array(ROWS, dtype=np.float32)


@pytest.fixture
def net():
    return fn.Network([3, 5, 2], activation="tanh", seed=1)


@pytest.mark.parametrize("code", list("?bBhHiIlLqQfd"))
def test_dtypes_of_the_core_pass_untouched(code):
    array = np.ones((3, 2), dtype=code)
    assert as_array(array) is array


@pytest.mark.parametrize("make", [lambda a: a[::2], lambda a: a.T, lambda a: a[:, ::-1], np.asfortranarray])
def test_strides_pass_untouched(make):
    array = make(np.arange(12.0).reshape(4, 3))
    assert as_array(array) is array


def test_rows_of_a_large_matrix_are_brought_together():
    X = np.random.default_rng(0).normal(size=(20_000, 4))
    columns = np.asfortranarray(X)
    together = rows_together(columns)
    assert together.flags.c_contiguous
    np.testing.assert_array_equal(together, X)

    def trained(data):
        net = fn.Network([4, 3, 1], seed=0)
        net.fit(data, X[:, 0], epochs=2)
        return net.parameters.tobytes()

    assert trained(pd.DataFrame(columns)) == trained(columns) == trained(X)


def test_only_shuffled_rows_in_memory_are_brought_together(tmp_path):
    X, y = np.asfortranarray(np.random.default_rng(0).normal(size=(20_000, 4))), np.zeros(20_000)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert make_source(X, y, None, 32, True, 1).X is not X
    assert make_source(X, y, None, 32, False, 1).X is X
    assert np.shares_memory(make_source(mapped, y, None, 32, True, 1).X, mapped)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.asfortranarray(PLAIN),
        lambda: np.ones((20_000, 4)),
        lambda: np.ones((20_000, 8))[::-1, ::2],
        lambda: np.broadcast_to(1.0, (10**10, 4)),
        lambda: np.lib.stride_tricks.as_strided(np.ones(64), (2**25, 8), (0, 64)),  # 2 GiB
        lambda: np.ones(40_000),
    ],
)
def test_others_are_left_where_they_are(make):
    array = make()
    assert rows_together(array) is array


def test_read_only_passes_untouched(net):
    array = PLAIN.copy()
    array.flags.writeable = False
    assert as_array(array) is array
    np.testing.assert_array_equal(net.predict(array), net.predict(PLAIN))


def test_memory_map_is_not_copied(tmp_path, net):
    mapped = np.memmap(tmp_path / "x", dtype=np.float32, mode="w+", shape=PLAIN.shape)
    mapped[:] = PLAIN
    assert np.shares_memory(as_array(mapped), mapped)
    np.testing.assert_array_equal(net.predict(mapped), net.predict(PLAIN))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: ROWS, id="nested lists"),
        pytest.param(lambda: tuple(map(tuple, ROWS)), id="nested tuples"),
        pytest.param(lambda: PLAIN.astype(np.float16), id="float16"),
        pytest.param(lambda: PLAIN.astype(np.float64), id="float64"),
        pytest.param(lambda: PLAIN.astype(np.longdouble), id="longdouble"),
        pytest.param(lambda: PLAIN.astype(">f4"), id="big-endian float32"),
        pytest.param(lambda: PLAIN.astype(">f8"), id="big-endian float64"),
        pytest.param(lambda: PLAIN.astype(object), id="objects"),
        pytest.param(lambda: [[decimal.Decimal(str(v)) for v in row] for row in ROWS], id="Decimal"),
        pytest.param(lambda: [[fractions.Fraction(v) for v in row] for row in ROWS], id="Fraction"),
        pytest.param(lambda: np.ma.masked_array(PLAIN, mask=False), id="masked array without masked entries"),
        pytest.param(lambda: PLAIN.view(np.matrix), id="matrix", marks=pytest.mark.filterwarnings("ignore")),
        pytest.param(lambda: pd.DataFrame(ROWS), id="pandas frame"),
        pytest.param(lambda: pd.DataFrame(ROWS).astype("Float64"), id="pandas nullable frame"),
        pytest.param(lambda: pd.DataFrame(ROWS).astype({0: "Float64", 1: object}), id="pandas mixed frame"),
        pytest.param(lambda: pl.DataFrame(ROWS, orient="row"), id="polars frame"),
        pytest.param(lambda: memoryview(PLAIN), id="buffer"),
        pytest.param(lambda: np.repeat(PLAIN, 2, axis=0)[::2], id="strided"),
        pytest.param(lambda: np.asfortranarray(PLAIN), id="column-major"),
        pytest.param(lambda: PLAIN[::-1][::-1], id="negative strides"),
    ],
)
def test_every_container_gives_the_same_prediction(net, make):
    np.testing.assert_array_equal(net.predict(make()), net.predict(PLAIN))


@pytest.mark.parametrize("code", list("?bBhHiIlLqQ"))
def test_integers_predict_as_floats(net, code):
    whole = np.array([[1, 0, 1], [0, 1, 1]], dtype=code)
    np.testing.assert_array_equal(net.predict(whole), net.predict(whole.astype(np.float32)))


def test_any_byte_of_a_boolean_but_zero_is_true(net):
    mask = np.array([[255, 0, 2], [0, 1, 128]], np.uint8).view(bool)
    np.testing.assert_array_equal(net.predict(mask), net.predict(mask.astype(np.float32)))


@pytest.mark.parametrize("series", [pd.Series, pl.Series, list, tuple, np.array])
def test_targets_may_be_series(series):
    fits = []
    for y in (series([0.0, 1.0, 0.5, -1.0]), np.array([0.0, 1.0, 0.5, -1.0])):
        net = fn.Network([3, 4, 1], seed=3)
        fits.append(net.fit(PLAIN, y, epochs=3, batch_size=2).loss)
    assert fits[0] == fits[1]


@pytest.mark.parametrize(
    "y",
    [
        pd.Series([0, 1, 2, 1], dtype="Int64"),
        pd.Series([0, 1, np.int8(2), True], dtype=object),
        pl.Series([0, 1, 2, 1]),
        [0, 1, 2, 1],
    ],
)
def test_labels_may_be_series(y):
    net = fn.Network([3, 3], output="softmax", loss="cross_entropy", seed=3)
    expected = net.evaluate(PLAIN, np.array([0, 1, 2, 1]))
    assert net.evaluate(PLAIN, y) == expected


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (
            np.zeros((4, 1), int),
            ValueError,
            r"\(n, 3\), or integer class labels of shape \(n,\), received \(4, 1\)",
        ),
        ([0.0, 1.0, 2.0, 1.0], TypeError, r"of shape \(4,\)$"),
        (pd.Series([0, 1, None, 1], dtype="Int64"), TypeError, "with NaN, as labels with missing values"),
    ],
)
def test_what_are_no_labels(y, error, words):
    net = fn.Network([3, 3], output="softmax", loss="cross_entropy")
    with pytest.raises(error, match=words):
        net.evaluate(PLAIN, y)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.ones((2, 3), dtype=complex), TypeError, "complex128"),
        (np.array([["a", "b"]]), TypeError, "<U1"),
        (np.array([["1.5", "2"]], dtype=object), TypeError, "'1.5' \\(str\\) at \\(0, 0\\)"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), TypeError, "datetime64"),
        (np.array([1], dtype="timedelta64[s]"), TypeError, "timedelta64"),
        ([[1.0, None]], TypeError, "None \\(NoneType\\) at \\(0, 1\\)"),
        ([[1.0, 2.0], [1.0]], ValueError, "does not form an array"),
        ([datetime.date(2024, 1, 1)], TypeError, "date"),
        ({"a": 1}, TypeError, "dict"),
        ((x for x in [1.0]), TypeError, "generator"),
        (np.array([10**400], dtype=object), TypeError, "int"),
        (np.ones((2, 3, 4)), ValueError, "\\(2, 3, 4\\)"),
        (1.0, ValueError, "shape \\(\\)"),
        (scipy.sparse.csr_matrix(PLAIN), TypeError, "toarray"),
        (scipy.sparse.coo_array(PLAIN), TypeError, "toarray"),
        (np.ma.masked_greater(PLAIN, 1), ValueError, "masked"),
        (list(np.ma.masked_greater(PLAIN, 1)), ValueError, "masked"),
        (pd.DataFrame({"a": [1, None], "b": [1, 2]}).astype("Int64"), TypeError, "<NA> .* at \\(1, 0\\)"),
        (pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), TypeError, "'x'"),
        (pd.Series(["x", "y"], dtype="category"), TypeError, "'x'|<U1|str"),
        (pl.DataFrame({"a": ["x", "y"]}), TypeError, "'x'|<U1"),
    ],
)
def test_what_holds_no_numbers_is_refused(data, error, words):
    with pytest.raises(error, match=words) as caught:
        as_array(data, "the data")
    assert "the data" in str(caught.value)


@pytest.mark.parametrize("missing", [pd.DataFrame({"a": [1.0, None]}), pl.DataFrame({"a": [1, None]})])
def test_missing_values_of_frames_are_refused(missing):
    with pytest.raises(ValueError, match="finite"):
        fn.Network([1, 1]).predict(missing)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_non_finite_input_is_refused(net, bad, dtype):
    X = PLAIN.astype(dtype)
    X[2, 1] = bad
    for call in (net.predict, net.forward, lambda X: net.fit(X, np.zeros((4, 2)))):
        with pytest.raises(ValueError, match="finite"):
            call(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("widths", [(64, 8, 2), (64, 1), (64, 80, 2)])
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
@pytest.mark.parametrize("weight", [None, 0.0, -1.0])
def test_non_finite_input_among_many_rows_is_refused(bad, widths, hidden, weight):
    net = fn.Network(widths, hidden, output=hidden, seed=0)
    if weight is not None:
        net.layers[0].weights[:] = weight
    X = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    expected = net.predict(X)
    for row, column in ((0, 0), (130, 5), (299, 63)):
        wrong = X.copy()
        wrong[row, column] = bad
        for call in (net.predict, lambda X: net.evaluate(X, expected)):
            with pytest.raises(ValueError, match=rf"X: expected finite .*row {row}\b"):
                call(wrong)


def test_finite_inputs_may_overflow_to_saturated_outputs():
    net = fn.Network((64, 8, 2), "tanh", seed=0)
    net.layers[0].weights[:] = 2.0
    X = np.ones((300, 64), np.float32)
    X[130] = 3e38
    saturated = net.layers[1].weights.sum(axis=0) + net.layers[1].bias
    np.testing.assert_allclose(net.predict(X)[130], saturated, rtol=1e-5)


def test_inputs_are_not_changed(net):
    X, y, w = PLAIN.copy(), np.zeros((4, 2)), np.ones(4)
    net.fit(X, y, sample_weight=w, epochs=3)
    np.testing.assert_array_equal(X, PLAIN)
    assert not y.any()
    assert (w == 1).all()


def test_text_labels_get_advice():
    net = fn.Network([3, 2], output="softmax", loss="cross_entropy")
    with pytest.raises(TypeError, match="integers from 0"):
        net.fit(PLAIN, np.array(["cat", "dog", "cat", "dog"]))


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([1.0, 2.0], ValueError, "\\(3,\\).*\\(2,\\)"),
        ([[1.0], [2.0], [1.0]], ValueError, "\\(3,\\).*\\(3, 1\\)"),
        ([1.0, -1.0, 1.0], ValueError, "negative"),
        ([1.0, np.nan, 1.0], ValueError, "finite"),
        ([1.0, np.inf, 1.0], ValueError, "finite"),
        ([0.0, 0.0, 0.0], ValueError, "zero"),
        ([0.0, 1e-46, 1e-50], ValueError, "largest.*not 1e-46; only their ratios"),
        ([1.0, 1e38, 1.0], ValueError, "largest.*not 1e\\+38; only their ratios"),
        (["a", "b", "c"], TypeError, "<U1"),
    ],
)
def test_bad_weights_are_refused(weights, error, words):
    with pytest.raises(error, match=words):
        as_weights(weights, 3)


def test_weights_of_half_precision_pass():
    weights = as_weights(np.float16([1, 2, 6e4]), 3)
    assert weights.dtype == np.float32
    assert weights.tolist() == [1, 2, 6e4]


def test_weights_pass():
    assert as_weights(None, 3) is None
    np.testing.assert_array_equal(as_weights([1, 0, 2], 3), [1, 0, 2])
    np.testing.assert_array_equal(as_weights([True, False, True], 3), [1, 0, 1])
