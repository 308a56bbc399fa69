"""Ensembles against means and deviations worked out by NumPy, and on data whose noise is known."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_friedman1

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = np.sin(X @ [1.0, -2.0, 0.5]) + RNG.normal(scale=0.3, size=120)
LABELS = (Y > 0).astype(np.int64)
CLASSIFIER = {"output": "softmax", "loss": "cross_entropy"}


def networks(count=5, outputs=1, **options):
    return [fn.Network([3, 8, outputs], **{"activation": "tanh", "seed": s} | options) for s in range(count)]


def test_fit_trains_each_as_alone(threads):
    threads(2)
    ensemble, alone = fn.Ensemble(networks()), networks()
    histories = ensemble.fit(X, Y, epochs=4, batch_size=16, optimizer=fn.Adam(0.01), validation_data=(X, Y))
    for net, other, history in zip(ensemble.networks, alone, histories, strict=True):
        assert history == other.fit(
            X, Y, epochs=4, batch_size=16, optimizer=fn.Adam(0.01), validation_data=(X, Y)
        )
        np.testing.assert_array_equal(net.parameters, other.parameters)
    assert ensemble.noise is None


def test_bootstrap_gives_each_its_own_rows(threads):
    """Each network draws 120 of 120 rows by its own seed, and its shuffles are what they would be without."""
    threads(2)
    seen = []

    def spy(prediction, target):
        seen.append(target.ravel())
        return 0.0, np.zeros_like(prediction)

    def rows(seeds, bootstrap=True):
        seen.clear()
        nets = [fn.Network([3, 1], loss=spy, seed=seed) for seed in seeds]
        fn.Ensemble(nets).fit(X, np.arange(120.0), epochs=1, batch_size=120, bootstrap=bootstrap)
        return [np.sort(each) for each in seen], nets

    (first, second), _ = rows([1, 2])
    assert len(first) == len(second) == 120
    assert not np.array_equal(first, second)
    for each in (first, second):
        assert 0.5 < len(np.unique(each)) / 120 < 0.76  # 1 − 1/e = 0.632 on average
    (again,), with_bootstrap = rows([1])
    assert any(np.array_equal(again, each) for each in (first, second))
    (everything,), without = rows([1], bootstrap=False)
    np.testing.assert_array_equal(everything, np.arange(120.0))
    assert with_bootstrap[0]._rng.bit_generator.state == without[0]._rng.bit_generator.state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("data", [X, X[0]], ids=["rows", "one row"])
def test_mean_and_deviation(dtype, outputs, data):
    ensemble = fn.Ensemble(networks(outputs=outputs, dtype=dtype))
    each = np.array([net.predict(data) for net in ensemble.networks], dtype=np.float64)
    mean, std = ensemble.predict(data, return_std=True)
    assert mean.dtype == std.dtype == dtype
    assert mean.shape == std.shape == each[0].shape
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(std, each.std(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(ensemble.predict(data), mean)
    ensemble.noise = np.full(outputs, 0.7)
    np.testing.assert_allclose(
        ensemble.predict(data, return_std=True)[1], np.hypot(each.std(axis=0), 0.7), rtol=1e-6
    )


def test_one_network():
    net = networks(1)[0]
    mean, std = fn.Ensemble([net]).predict(X, return_std=True)
    np.testing.assert_array_equal(mean, net.predict(X))
    assert not std.any()


def test_probabilities_and_classes(threads):
    threads(2)
    data, labels = load_digits(return_X_y=True)
    nets = [fn.Network([64, 16, 10], seed=seed, **CLASSIFIER) for seed in range(5)]
    ensemble = fn.Ensemble(nets)
    ensemble.fit(data[:900] / 16, labels[:900], epochs=8, optimizer=fn.Adam(0.005), bootstrap=True)
    assert ensemble.noise is None  # labels have none
    probabilities = np.mean([net.predict(data[900:] / 16) for net in nets], axis=0)
    np.testing.assert_allclose(ensemble.predict(data[900:] / 16), probabilities, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(ensemble.predict_classes(data[900:] / 16), probabilities.argmax(axis=1))
    accuracies = [net.evaluate(data[900:] / 16, labels[900:])["accuracy"] for net in nets]
    assert ensemble.evaluate(data[900:] / 16, labels[900:])["accuracy"] > np.mean(accuracies)


def test_noise_is_found(threads):
    """Data with noise of a known deviation: the one found is it, and the intervals cover what they say."""
    threads(2)
    data, target = make_friedman1(1000, 5, noise=1.0, random_state=0)
    target = (target - 14.0) / 5.0  # the noise becomes 0.2
    ensemble = fn.Ensemble([fn.Network([5, 32, 1], "tanh", seed=seed) for seed in range(20)])
    for net in ensemble.networks:
        net.standardize(data[:500])
    ensemble.fit(data[:500], target[:500], bootstrap=True, epochs=60, optimizer=fn.Adam(0.01))
    assert ensemble.noise.shape == (1,)
    assert 0.18 < ensemble.noise[0] < 0.25
    mean, std = ensemble.predict(data[500:], return_std=True)
    score = np.abs(target[500:] - mean[:, 0]) / std[:, 0]
    assert 0.86 < np.mean(score < 1.645) < 0.94
    assert 0.64 < np.mean(score < 1.0) < 0.73


def test_noise_by_hand(monkeypatch, threads):
    """σ² is the mean of (y − ŷ)² − s² over the rows, by the networks that have not seen them."""
    from fusednet import ensemble as module

    monkeypatch.setattr(module, "_CHUNK", 7)
    threads(2)
    nets = networks(6, outputs=2, dtype="float64")
    bags = [module._bootstrap(net, 120) for net in nets]
    target = np.column_stack([Y, np.cos(X[:, 0])])
    ensemble = fn.Ensemble(nets)
    ensemble.fit(X, target, bootstrap=True, epochs=3)
    excess = []
    for row in range(120):
        out = [net for net, bag in zip(nets, bags, strict=True) if row not in bag]
        if out:
            each = np.array([net.predict(X[row]) for net in out])
            excess.append((target[row] - each.mean(axis=0)) ** 2 - each.var(axis=0))
    np.testing.assert_allclose(ensemble.noise, np.sqrt(np.mean(excess, axis=0)), rtol=1e-9)
    ensemble.fit(X, target, epochs=1)
    assert ensemble.noise is None


@pytest.mark.parametrize(
    ("loss", "output", "target"),
    [
        ("mse", "identity", Y),
        (fn.losses.Huber(0.4), "identity", Y),
        ("poisson", "exp", np.abs(Y)),
        ("binary_cross_entropy", "sigmoid", LABELS),
    ],
)
@pytest.mark.parametrize("weights", [None, np.linspace(0.0, 2.0, 120)], ids=["", "weighted"])
def test_evaluate_one_network_is_its_own(loss, output, target, weights):
    net = networks(1, loss=loss, output=output, dtype="float64")[0]
    expected = net.evaluate(X, target, weights)
    assert fn.Ensemble([net]).evaluate(X, target, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("target", [LABELS, np.eye(2)[LABELS]], ids=["labels", "one-hot"])
def test_evaluate_averaged_probabilities(target):
    ensemble = fn.Ensemble(networks(outputs=2, dtype="float64", **CLASSIFIER))
    p = np.mean([net.predict(X) for net in ensemble.networks], axis=0)
    expected = {
        "loss": -np.mean(np.log(p[np.arange(120), LABELS])),
        "accuracy": np.mean(p.argmax(axis=1) == LABELS),
    }
    assert ensemble.evaluate(X, target) == pytest.approx(expected, rel=1e-12)


def test_evaluate_r2_and_l2():
    ensemble = fn.Ensemble(networks(l2=3.0, dtype="float64"))
    prediction = ensemble.predict(X)[:, 0]
    error = np.mean((prediction - Y) ** 2)
    expected = {"loss": error, "r2": 1 - error / np.var(Y)}
    assert ensemble.evaluate(X, Y) == pytest.approx(expected, rel=1e-12)


def mean_error(prediction, target):
    return float(np.mean(np.abs(prediction - target))), np.sign(prediction - target) / prediction.size


def test_a_loss_of_ones_own(tmp_path):
    ensemble = fn.Ensemble(networks(loss=mean_error, dtype="float64"))
    expected = np.mean(np.abs(ensemble.predict(X)[:, 0] - Y))
    assert ensemble.evaluate(X, Y)["loss"] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="sample_weight must be None"):
        ensemble.evaluate(X, Y, np.ones(120))
    ensemble.save(tmp_path / "own")
    with pytest.raises(ValueError, match="loss was a callable"):
        fn.Ensemble.load(tmp_path / "own")
    loaded = fn.Ensemble.load(tmp_path / "own", loss=mean_error)
    assert all(net.loss is mean_error for net in loaded.networks)


def test_save_and_load(tmp_path, threads):
    threads(2)
    nets = [
        fn.Network([3, width, 2], seed=width, dtype=dtype, dropout=0.1)
        for width, dtype in zip(range(4, 16), ["float32", "float64"] * 6, strict=True)
    ]
    nets[10].standardize(X)
    ensemble = fn.Ensemble(nets)
    target = np.column_stack([Y, -Y])
    ensemble.fit(X, target, bootstrap=True, epochs=2)
    ensemble.save(tmp_path / "ensemble.safetensors")
    loaded = fn.Ensemble.load(tmp_path / "ensemble.safetensors")
    for a, b in zip(ensemble.predict(X, return_std=True), loaded.predict(X, return_std=True), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ensemble.noise, loaded.noise)
    for each in (ensemble, loaded):
        each.fit(X, target, epochs=1)
    np.testing.assert_array_equal(ensemble.predict(X), loaded.predict(X))


def test_noise_is_that_of_the_present_parameters(threads):
    class Stop(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            raise RuntimeError("enough")

    ensemble = fn.Ensemble(networks())
    ensemble.fit(X, Y, bootstrap=True, epochs=2)
    noise = ensemble.noise
    with pytest.raises(ValueError, match="rows"):
        ensemble.fit(X, Y[:-1], bootstrap=True, epochs=2)
    assert ensemble.noise is noise
    with pytest.raises(RuntimeError, match="enough"):
        ensemble.fit(X, Y, bootstrap=True, epochs=2, callbacks=[Stop()])
    assert ensemble.noise is None


@pytest.mark.parametrize("noise", [1.5, [1.5, 2], np.float32([1.5, 2])], ids=repr)
def test_noise_may_be_set(tmp_path, noise):
    ensemble = fn.Ensemble([fn.Network([3, 2], seed=seed) for seed in range(3)])
    spread = ensemble.predict(np.ones((4, 3)), return_std=True)[1]
    ensemble.noise = noise
    ensemble.save(tmp_path / "noisy")
    for each in (ensemble, fn.Ensemble.load(tmp_path / "noisy")):
        std = each.predict(np.ones((4, 3)), return_std=True)[1]
        np.testing.assert_allclose(std, np.sqrt(np.float64(spread) ** 2 + np.square(noise)), rtol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        ensemble.noise[0] = -1
    for wrong in (-1.0, np.nan, ["1", "2"], np.ones(3), np.ones((1, 2))):
        with pytest.raises(ValueError, match="noise must be a number, or 2, one for each output"):
            ensemble.noise = wrong


def test_without_noise_there_is_none_in_the_file(tmp_path):
    ensemble = fn.Ensemble(networks())
    ensemble.save(tmp_path / "file")
    assert fn.Ensemble.load(tmp_path / "file").noise is None


def test_files_of_the_other_kind(tmp_path):
    ensemble = fn.Ensemble(networks())
    ensemble.save(tmp_path / "ensemble")
    ensemble.networks[0].save(tmp_path / "network")
    with pytest.raises(ValueError, match=r"holds an ensemble, which fn\.Ensemble\.load reads"):
        fn.load(tmp_path / "ensemble")
    with pytest.raises(ValueError, match=r"holds a network alone, which fn\.load reads"):
        fn.Ensemble.load(tmp_path / "network")
    content = (tmp_path / "ensemble").read_bytes()
    (tmp_path / "damaged").write_bytes(content[:-3] + b"abc")
    with pytest.raises(ValueError, match="damaged"):
        fn.Ensemble.load(tmp_path / "damaged")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies(duplicate):
    ensemble = fn.Ensemble(networks())
    ensemble.noise = np.array([0.5])
    other = duplicate(ensemble)
    for a, b in zip(ensemble.predict(X, return_std=True), other.predict(X, return_std=True), strict=True):
        np.testing.assert_array_equal(a, b)
    other.fit(X, Y, epochs=1)
    assert not np.array_equal(ensemble.predict(X), other.predict(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [4, 8, 1]}, "same number of inputs, but networks.0. has 3 and networks.1. 4"),
        ({"widths": [3, 8, 2]}, "same number of outputs"),
        ({"output": "tanh"}, "same output activation"),
        ({"loss": "mae"}, "same loss"),
    ],
)
def test_networks_that_do_not_go_together(change, message):
    with pytest.raises(ValueError, match=message):
        fn.Ensemble([fn.Network([3, 8, 1]), fn.Network(**{"widths": [3, 8, 1]} | change)])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least one network"):
        fn.Ensemble([])
    with pytest.raises(TypeError, match="a list of networks"):
        fn.Ensemble(fn.Network([3, 1]))
    ensemble = fn.Ensemble(networks())
    with pytest.raises(ValueError, match=r"expected shape \(n, 3\)"):
        ensemble.predict(X[:, :2])
    with pytest.raises(ValueError, match="softmax"):
        ensemble.predict_classes(X)
    with pytest.raises(ValueError, match="expected 120 rows"):
        ensemble.evaluate(X, Y[1:])
    with pytest.raises(ValueError, match="expected 120 rows"):
        ensemble.fit(X, Y[1:], bootstrap=True)
    with pytest.raises(ValueError, match="n at least 1"):
        ensemble.fit(X[:0], Y[:0], bootstrap=True)


def test_twins():
    net = networks(1)[0]
    ensemble = fn.Ensemble([net, networks(2)[1], net.copy()])
    with pytest.raises(ValueError, match=r"networks\[0\] and networks\[2\] are twins.*seed of its own"):
        ensemble.fit(X, Y)


def test_divergence_is_raised_at_the_end(threads):
    threads(2)
    ensemble = fn.Ensemble(networks(3))
    with pytest.raises(fn.DivergenceError, match="1 of 3 networks diverged: network 1: training diverged"):
        ensemble.fit(X, Y, epochs=4, optimizer=[fn.SGD(0.01), fn.SGD(1e30), fn.SGD(0.01)])
    assert [net.history.epochs for net in ensemble.networks] == [4, 0, 4]


def test_repr():
    assert repr(fn.Ensemble(networks(3))).startswith("Ensemble of 3 networks, the first Network([3, 8, 1]")
