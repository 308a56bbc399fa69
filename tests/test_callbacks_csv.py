"""CSVLogger: what is in the file, and when."""

import csv
import os

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = X @ [1.0, -2.0, 0.5]


class Interrupt(fn.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, epoch, logs):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.csv"


def read(path, **options):
    """Return the columns by name, numbers as floats."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, **options))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def fit(callbacks, epochs=5, **options):
    net = fn.Network([3, 4, 1], seed=0)
    return net.fit(X, Y, epochs=epochs, validation_data=(X, Y), callbacks=callbacks, **options)


def test_the_numbers_come_back(path):
    history = fit([fn.CSVLogger(path)], metrics={"n": lambda y, p: len(y)})
    table = read(path)
    assert list(table) == ["epoch", "loss", "learning_rate", "val_loss", "val_n"]
    assert table["epoch"] == [0, 1, 2, 3, 4]
    assert table["loss"] == history.loss
    assert table["val_loss"] == history.val_loss
    assert table["learning_rate"] == [0.01] * 5


def test_each_row_is_there_when_its_epoch_ends(path):
    class Look(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            assert path.read_text().count("\n") == epoch + 2

    fit([fn.CSVLogger(path), Look()])


def test_a_new_training_starts_anew(path):
    path.write_text("something else")
    logger = fn.CSVLogger(path)
    for _ in range(2):
        fit([logger], epochs=3)
        assert read(path)["epoch"] == [0, 1, 2]


def test_data_that_cannot_be_trained_on_leave_the_file(path):
    path.write_text("something else")
    with pytest.raises(ValueError, match="19"):
        fn.Network([3, 4, 1]).fit(X, Y[1:], callbacks=[fn.CSVLogger(path)])
    assert path.read_text() == "something else"


def test_what_cannot_be_cut_is_written_to():
    fit([fn.CSVLogger(os.devnull)], epochs=2)


def test_a_training_without_an_epoch_empties_the_file(path):
    class Stop(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            net.stop_training = True

    path.write_text("something else")
    fit([fn.CSVLogger(path), Stop()])
    assert path.read_text() == ""


def test_separators_and_quotes(path):
    fit([fn.CSVLogger(path, separator=";")], epochs=1, metrics={'a;"b"': lambda y, p: 1.0})
    assert read(path, delimiter=";")['val_a;"b"'] == [1.0]


@pytest.fixture
def checkpoint(tmp_path, path):
    """Return a checkpoint after epoch 1, with the log up to epoch 3."""
    where = tmp_path / "{epoch}"
    with pytest.raises(KeyboardInterrupt):
        fit([fn.CSVLogger(path), fn.ModelCheckpoint(where), Interrupt(3)])
    assert read(path)["epoch"] == [0, 1, 2, 3]
    return tmp_path / "1"


@pytest.mark.parametrize("torn", ["", "4,0.12", "4"])
def test_a_resumed_training_appends(path, checkpoint, torn):
    with path.open("a") as file:
        file.write(torn)  # a writer that was killed
    history = fit([fn.CSVLogger(path)], resume=checkpoint)
    table = read(path)
    assert table["epoch"] == [0, 1, 2, 3, 4]
    assert table["loss"] == history.loss


@pytest.mark.parametrize("left", [None, "", "epoch,los"])
def test_a_resumed_training_without_its_log(path, checkpoint, left):
    path.unlink()
    if left is not None:
        path.write_text(left)
    fit([fn.CSVLogger(path)], resume=checkpoint)
    table = read(path)
    assert list(table)[:2] == ["epoch", "loss"]
    assert table["epoch"] == [2, 3, 4]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "epoch,loss\nx,2\n"])
def test_another_file_is_not_cut(path, checkpoint, content):
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a file that CSVLogger wrote"):
        fit([fn.CSVLogger(path)], resume=checkpoint)
    assert path.read_text() == content


def test_a_name_of_two_lines_is_an_error(path):
    X = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"a name with a line's end: 'epoch,.*two\\nlines"):
        fn.Network([3, 1]).fit(
            X, X[:, 0], callbacks=[fn.CSVLogger(path)], metrics={"two\nlines": lambda y, p: 0.0}
        )


def test_other_columns_are_an_error(path, checkpoint):
    path.write_text("epoch,loss\n0,1.0\n", newline="\n")
    with pytest.raises(ValueError, match=r"has the columns 'epoch,loss\\n', and epoch 2 has 'epoch,loss,"):
        fit([fn.CSVLogger(path)], resume=checkpoint)

    class More(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            logs.update({"more": 1.0} if epoch else {})

    with pytest.raises(ValueError, match="and epoch 1 has"):
        fit([More(), fn.CSVLogger(path)])


@pytest.mark.parametrize("separator", [",", ";", ":", "|", "\t", " "])
def test_a_resumed_training_reads_every_separator(tmp_path, path, separator):
    metrics = {f"a{separator}b": lambda y, p: -1e-20}
    fit([fn.CSVLogger(path, separator), fn.ModelCheckpoint(tmp_path / "run")], 2, metrics=metrics)
    history = fit([fn.CSVLogger(path, separator)], 4, metrics=metrics, resume=tmp_path / "run")
    table = read(path, delimiter=separator)
    assert table["epoch"] == [0, 1, 2, 3]
    assert table["loss"] == history.loss


@pytest.mark.parametrize("separator", ["", ",,", None, 3, "\n", "\r", "e", "0", ".", "-", '"'])
def test_other_separators(path, separator):
    with pytest.raises(ValueError, match=r"separator must be one of ',' ';' .*, not "):
        fn.CSVLogger(path, separator)


def test_a_missing_folder_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        fit([fn.CSVLogger(tmp_path / "nowhere" / "log.csv")])
