"""Files: what comes back, and what is refused."""

import json
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
LABELS = RNG.integers(0, 4, size=20)


def network(**options):
    return fn.Network([3, 8, 4], **{"output": "softmax", "loss": "cross_entropy", "seed": 0} | options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    network().save(path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("as_text", [True, False])
def test_the_same_predictions_come_back(path, dtype, as_text):
    net = network(dtype=dtype, activation="gelu")
    where = str(path) if as_text else path
    net.save(where)
    again = fn.load(where)
    assert repr(again) == repr(net)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_training_goes_on_as_it_would_have(path):
    net = network(dropout=0.3, l2=0.01)
    net.layers[0].trainable = False
    net.fit(X, LABELS, epochs=2, batch_size=4)
    net.save(path)
    again = fn.load(path)
    assert again.dropout == (0.3,)
    assert again.l2 == 0.01
    assert [layer.trainable for layer in again.layers] == [False, True]
    for each in (net, again):
        each.fit(X, LABELS, epochs=3, batch_size=4)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert again.history == net.history


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "half_mse",
        "mae",
        "huber",
        "poisson",
        "quantile",
        fn.losses.Huber(0.25),
        fn.losses.Quantile(0.9),
    ],
)
def test_losses_come_back(path, loss):
    net = fn.Network([3, 2], output="softplus", loss=loss, seed=0)
    net.save(path)
    y = np.abs(X[:, :2])
    assert fn.load(path).evaluate(X, y) == net.evaluate(X, y)


def test_layers_without_bias(path):
    net = fn.Network([fn.Dense(3, 4, "tanh", bias=False, seed=0), fn.Dense(4, 1, seed=1)])
    net.save(path)
    again = fn.load(path)
    assert again.layers[0].bias is None
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def squared(y_pred, y_true):
    r = y_pred - y_true
    return float((r**2).mean()), 2 * r / r.size


def test_a_callable_loss_must_be_given_again(path):
    net = fn.Network([3, 2], loss=squared, seed=0)
    net.save(path)
    with pytest.raises(ValueError, match=r"callable.*load\(path, loss=\.\.\.\)"):
        fn.load(path)
    y = X[:, :2]
    assert fn.load(path, loss=squared).evaluate(X, y) == net.evaluate(X, y)
    assert fn.load(path, loss="mse").evaluate(X, y)["loss"] == pytest.approx(net.evaluate(X, y)["loss"])


def test_another_loss_may_be_given(path):
    fn.Network([3, 2], seed=0).save(path)
    assert fn.load(path, loss=fn.losses.Huber(0.5)).loss == fn.losses.Huber(0.5)
    with pytest.raises(ValueError, match='needs output="softmax"'):
        fn.load(path, loss="cross_entropy")


def test_the_file_is_plain_safetensors(saved):
    net = network()
    tensors = safetensors.numpy.load_file(saved)
    assert sorted(tensors) == ["layers.0.bias", "layers.0.weights", "layers.1.bias", "layers.1.weights"]
    np.testing.assert_array_equal(tensors["layers.1.weights"], net.layers[1].weights)
    with safetensors.safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["fusednet"] == "2"
    assert json.loads(metadata["config"])["loss"] == "cross_entropy"
    assert len(metadata["sha256"]) == 64


# Writing


def test_an_existing_file_is_replaced(saved):
    other = network(seed=1)
    other.save(saved)
    np.testing.assert_array_equal(fn.load(saved).parameters, other.parameters)
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(saved, monkeypatch, step):
    before = saved.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        network(seed=1).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_link_stays_a_link(saved, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(saved)
    other = network(seed=1)
    other.save(link)
    assert link.is_symlink()
    np.testing.assert_array_equal(fn.load(saved).parameters, other.parameters)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_stays_a_pipe(saved, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        network().save(pipe)
        saved.write_bytes(read.result())
    assert pipe.is_fifo()
    np.testing.assert_array_equal(fn.load(saved).parameters, network().parameters)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_file_has_ordinary_permissions(saved):
    mask = os.umask(0)
    os.umask(mask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_private_file_stays_private(saved):
    saved.chmod(0o600)
    network(seed=1).save(saved)
    assert saved.stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.model.$"):
        network().save(tmp_path / "nowhere" / "model")
    with pytest.raises(OSError, match="directory"):
        network().save(tmp_path)


# Reading what should not be read


def test_a_number_is_no_path(saved):
    with open(saved, "rb") as file:
        for call in (fn.load, fn.Ensemble.load, lambda path: network().fit([[0.0]], [0], resume=path)):
            with pytest.raises(TypeError, match="int"):
                call(file.fileno())
        assert file.read() == saved.read_bytes()  # is still open, at its beginning


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        fn.load(tmp_path / "nothing")
    with pytest.raises(OSError, match="directory"):
        fn.load(tmp_path)


def test_every_truncation_is_a_valueerror(saved, tmp_path):
    content = saved.read_bytes()
    cut = tmp_path / "cut"
    for length in [*range(0, len(content), 37), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut"):
            fn.load(cut)


def test_every_flipped_byte_is_a_valueerror_or_harmless(saved, tmp_path):
    content, net = saved.read_bytes(), network()
    flipped = tmp_path / "flipped"
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        flipped.write_bytes(damaged)
        try:
            again = fn.load(flipped)
        except ValueError as error:
            assert "flipped" in str(error)  # noqa: PT017
        else:  # padding of the header is not part of the model
            np.testing.assert_array_equal(again.parameters, net.parameters)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [(b'"F32"', b'"I32"'), (b'"F32"', b'"U32"'), (b'"shape":[4]', b'"shape":[2,2]')],
    ids=str,
)
def test_wrong_dtypes_and_shapes_are_valueerrors(saved, written, damaged):
    content = saved.read_bytes()
    assert written in content
    for position in [i for i in range(len(content)) if content.startswith(written, i)]:
        changed = content[:position] + damaged + content[position + len(written) :]
        length = 8 + int.from_bytes(content[:8], "little")
        surplus = len(damaged) - len(written)  # which the padding of the header makes up for
        saved.write_bytes(changed[: length + surplus].rstrip().ljust(length) + content[length:])
        with pytest.raises(ValueError, match="model"):
            fn.load(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"PK\x03\x04" + bytes(100),
        b"\x93NUMPY" + bytes(200),
        bytes(1000),
        b"\xff" * 1000,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 21) + b'{"__metadata__":{}}  ',
        struct.pack("<Q", 40) + b'{"__metadata__":{"fusednet":1}}         ',
    ],
)
def test_foreign_files(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a file that fusednet saved"):
        fn.load(path)


def test_safetensors_of_others(path):
    safetensors.numpy.save_file({"w": np.ones(3)}, path)
    with pytest.raises(ValueError, match="not a file that fusednet saved"):
        fn.load(path)
    safetensors.numpy.save_file({"w": np.ones(3)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="not a file that fusednet saved"):
        fn.load(path)


def rewritten(path, change_config=None, change_tensors=None, text=None, **metadata):
    """Write the file again with something changed and the checksum put right."""
    from fusednet.serialization import _checksum

    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        old = file.metadata()
    config = json.loads(old["config"])
    if change_config is not None:
        change_config(config)
    if change_tensors is not None:
        change_tensors(tensors)
    text = json.dumps(config) if text is None else text
    new = {**old, "config": text, "sha256": _checksum(text, tensors), **metadata}
    safetensors.numpy.save_file(tensors, path, metadata=new)


def test_a_later_version(saved):
    rewritten(saved, fusednet="3")
    with pytest.raises(ValueError, match=r"format version 3.*reads version 2"):
        fn.load(saved)


def test_the_checksum(saved):
    rewritten(saved)
    fn.load(saved)
    rewritten(saved, sha256="0" * 64)
    with pytest.raises(ValueError, match="checksum"):
        fn.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("layers"),
        lambda c: c.pop("rng"),
        lambda c: c.update(layers=3),
        lambda c: c.update(layers=[]),
        lambda c: c.update(layers=[3]),
        lambda c: c["layers"].append(dict(c["layers"][0])),
        lambda c: c["layers"][0].update(activation="swish"),
        lambda c: c["layers"][0].update(activation=None),
        lambda c: c["layers"][0].update(surprise=1),
        lambda c: c["layers"][1].update(activation="tanh"),
        lambda c: c.update(loss="l1"),
        lambda c: c.update(loss=["mse"]),
        lambda c: c.update(l2="much"),
        lambda c: c.update(l2=-1),
        lambda c: c.update(dropout=[2.0]),
        lambda c: c.update(dropout=[0.1, 0.1]),
        lambda c: c.update(dropout_seed=-1),
        lambda c: c.update(dropout_step="x"),
        lambda c: c.update(dropout_step=10**40),
        lambda c: c.update(rng={"bit_generator": "MT19937"}),
        lambda c: c.update(rng=None),
        lambda c: c["rng"]["state"].update(state=-1),
    ],
)
def test_a_configuration_that_makes_no_sense(saved, change):
    rewritten(saved, change)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        fn.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("layers.0.weights"),
        lambda t: t.update({"layers.0.weights": np.ones((3, 7), np.float32)}),
        lambda t: t.update({"layers.0.weights": np.ones((3, 8), np.float64)}),
        lambda t: t.update({"layers.0.weights": np.ones((3, 8), np.int32)}),
        lambda t: t.update({"layers.0.weights": np.ones(24, np.float32)}),
        lambda t: t.update({"layers.0.weights": np.ones((0, 8), np.float32)}),
        lambda t: t.update({"layers.1.bias": np.ones(5, np.float32)}),
    ],
)
def test_tensors_that_make_no_sense(saved, change):
    rewritten(saved, change_tensors=change)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        fn.load(saved)


@pytest.mark.parametrize("text", ["[", "3", "null", "[" * 5000, ""])
def test_a_configuration_that_is_none(saved, text):
    rewritten(saved, text=text)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        fn.load(saved)


def test_saving_while_another_thread_trains(path):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2000, 64)).astype(np.float32)
    net = fn.Network([64, 256, 1], seed=0)

    class Stop(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.stop_training = done.is_set()

    done = threading.Event()
    options = {"epochs": 10**6, "optimizer": fn.SGD(1e-6), "callbacks": [Stop()], "progress": False}
    with ThreadPoolExecutor(1) as executor:
        training = executor.submit(net.fit, inputs, inputs[:, 0], **options)
        try:
            for _ in range(20):
                net.save(path)
                assert np.isfinite(fn.load(path).parameters).all()
        finally:
            done.set()
        training.result(60)
