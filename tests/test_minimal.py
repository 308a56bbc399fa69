"""The main job from end to end with NumPy and pytest alone: what every Python version must pass."""

import numpy as np
import pytest

import fusednet as fn


@pytest.fixture
def circle():
    """Return points of the square, and whether they lie in the circle of half its area."""
    X = np.random.default_rng(0).uniform(-1, 1, size=(400, 2))
    return X, (np.sum(X**2, axis=1) < 2 / np.pi).astype(np.int64)


def test_train_save_load_predict(circle, tmp_path):
    X, y = circle
    net = fn.Network([2, 32, 2], "tanh", output="softmax", loss="cross_entropy", seed=0)
    history = net.fit(
        X[:300],
        y[:300],
        epochs=100,
        optimizer=fn.Adam(0.01),
        validation_data=(X[300:], y[300:]),
        callbacks=[fn.EarlyStopping(patience=20)],
    )
    assert history.loss[-1] < history.loss[0] / 3
    assert len(history.val_loss) == history.epochs
    assert net.evaluate(X[300:], y[300:])["accuracy"] > 0.9

    net.save(tmp_path / "circle.safetensors")
    loaded = fn.load(tmp_path / "circle.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    np.testing.assert_array_equal(loaded.predict_classes(X[:5]), net.predict_classes(X[:5]))


def test_regression_by_steps():
    x = np.linspace(-3, 3, 61)[:, None]
    net = fn.Network([1, 16, 1], "tanh", dtype="float64", seed=0)
    optimizer = fn.SGD(0.05, momentum=0.9)
    losses = [net.train_step(x, np.sin(x), optimizer) for _ in range(2000)]
    assert losses[-1] < 1e-3 < losses[0]
    np.testing.assert_allclose(net.predict(x), np.sin(x), atol=0.1)


def test_gradient():
    net = fn.Network([2, 3, 1], "tanh", dtype="float64", seed=0)
    X, y, h = np.array([[0.5, -1.0], [2.0, 0.25]]), [1.0, -1.0], 1e-6
    gradient = net.loss_and_gradient(X, y)[1]
    for i in range(gradient.size):
        net.parameters[i] += h
        above = net.loss_and_gradient(X, y)[0]
        net.parameters[i] -= 2 * h
        below = net.loss_and_gradient(X, y)[0]
        net.parameters[i] += h
        assert (above - below) / (2 * h) == pytest.approx(gradient[i], rel=1e-6, abs=1e-9)


def test_build():
    info = fn.build_info()
    assert info["version"] == fn.__version__
    assert info["active_kernel_set"] in info["available_kernel_sets"]
    assert set(info["available_kernel_sets"]) <= set(info["kernel_sets"])
    assert fn.get_num_threads() >= 1


def test_errors_are_python_errors():
    net = fn.Network([2, 1], seed=0)
    with pytest.raises(ValueError, match="X"):
        net.predict(np.ones((3, 4)))
    with pytest.raises(ValueError, match="finite"):
        net.predict([[np.nan, 0.0]])
    with pytest.raises(TypeError):
        net.predict([["a", "b"]])
