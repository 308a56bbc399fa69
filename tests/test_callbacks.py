"""Callbacks: what is called when, stopping, and early stopping."""

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5]


class Recorder(fn.Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self, net):
        self.calls.append("train begin")

    def on_epoch_begin(self, net, epoch):
        self.calls.append(f"begin {epoch}")

    def on_epoch_end(self, net, epoch, logs):
        self.calls.append(f"end {epoch}")
        self.logs = logs

    def on_train_end(self, net):
        self.calls.append("train end")


class Scripted(fn.Callback):
    """Replaces the logs' values, so that early stopping sees a known course."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, net, epoch, logs):
        logs[self.name] = self.values[epoch]
        net.parameters = np.full(net.parameters.shape, float(epoch))


def network():
    return fn.Network([3, 1], seed=0)


def test_order_of_calls():
    recorder = Recorder()
    network().fit(X, Y, epochs=2, callbacks=[recorder])
    assert recorder.calls == ["train begin", "begin 0", "end 0", "begin 1", "end 1", "train end"]


def test_logs_and_history_agree():
    recorder = Recorder()
    net = network()
    history = net.fit(
        X, Y, epochs=3, validation_data=(X, Y), metrics={"n": lambda y, p: len(y)}, callbacks=[recorder]
    )
    assert recorder.logs == {
        "loss": history.loss[-1],
        "val_loss": history.val_loss[-1],
        "val_n": 40.0,
        "learning_rate": 0.01,
    }


def test_the_epoch_is_in_the_history_when_the_callback_runs():
    class Check(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            assert net.history.loss[epoch] == logs["loss"]
            assert net.history.epochs == epoch + 1

    network().fit(X, Y, epochs=3, callbacks=[Check()])


def test_stop_training():
    class Stop(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.stop_training = epoch == 1

    net, recorder = network(), Recorder()
    assert net.fit(X, Y, epochs=9, callbacks=[Stop(), recorder]).epochs == 2
    assert recorder.calls[-2:] == ["end 1", "train end"]
    assert net.fit(X, Y, epochs=3).epochs == 3  # and the next fit starts afresh


def test_a_callback_need_not_inherit():
    class Counts:
        seen = 0

        def on_epoch_end(self, net, epoch, logs):
            self.seen += 1

    counts = Counts()
    network().fit(X, Y, epochs=3, callbacks=(counts,))
    assert counts.seen == 3


@pytest.mark.parametrize("bad", [print, fn.EarlyStopping, "stop", 3])
def test_what_is_no_callback(bad):
    with pytest.raises(TypeError, match="a callback must be"):
        network().fit(X, Y, callbacks=[bad])


def test_errors_of_a_callback_reach_the_caller():
    class Fails(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            raise ZeroDivisionError("mine")

    net = network()
    before = net.parameters.copy()
    with pytest.raises(ZeroDivisionError, match="mine"):
        net.fit(X, Y, callbacks=[Fails()])
    assert net.history.epochs == 1
    assert not np.array_equal(net.parameters, before)


def test_early_stopping_counts_its_patience():
    values = [5.0, 4.0, 4.5, 4.4, 4.3, 1.0]
    stopping = fn.EarlyStopping(patience=3)
    net = network()
    history = net.fit(X, Y, epochs=6, callbacks=[Scripted("val_loss", values), stopping])
    assert history.epochs == 5  # 4.5, 4.4 and 4.3 are no better than 4.0
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (4.0, 1, 4)
    assert (net.parameters == 1.0).all()


def test_early_stopping_restores_without_stopping():
    stopping = fn.EarlyStopping(patience=9)
    net = network()
    net.fit(X, Y, epochs=4, callbacks=[Scripted("val_loss", [3.0, 1.0, 2.0, 2.0]), stopping])
    assert stopping.stopped_epoch is None
    assert (net.parameters == 1.0).all()


def test_early_stopping_may_keep_the_last():
    net = network()
    stopping = fn.EarlyStopping(patience=2, restore_best=False)
    net.fit(X, Y, epochs=9, callbacks=[Scripted("val_loss", [1.0] * 9), stopping])
    assert stopping.stopped_epoch == 2
    assert (net.parameters == 2.0).all()


def test_min_delta_and_nan():
    values = [1.0, 0.95, 0.92, np.nan, 0.0]
    stopping = fn.EarlyStopping(patience=3, min_delta=0.1)
    network().fit(X, Y, epochs=5, callbacks=[Scripted("val_loss", values), stopping])
    assert (stopping.best_epoch, stopping.stopped_epoch) == (0, 3)


def test_nan_from_the_start():
    stopping = fn.EarlyStopping(patience=2)
    network().fit(X, Y, epochs=9, callbacks=[Scripted("val_loss", [np.nan] * 9), stopping])
    assert (stopping.best_epoch, stopping.stopped_epoch) == (None, 1)


def test_higher_may_be_better():
    stopping = fn.EarlyStopping("val_r2", patience=2, mode="max")
    network().fit(X, Y, epochs=9, callbacks=[Scripted("val_r2", [0.1, 0.5, 0.4, 0.45, 9.0]), stopping])
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (0.5, 1, 3)


def test_early_stopping_can_be_used_again():
    stopping = fn.EarlyStopping("loss", patience=1)
    for _ in range(2):
        network().fit(X, Y, epochs=2, callbacks=[stopping])
        assert stopping.best_epoch == 1
        assert stopping.stopped_epoch is None


def test_early_stopping_on_real_validation_data():
    net = fn.Network([3, 64, 1], seed=0)
    noise = np.random.default_rng(1).normal(size=40)  # nothing to learn: validation gets worse
    stopping = fn.EarlyStopping(patience=4)
    history = net.fit(
        X[:20],
        noise[:20],
        epochs=500,
        optimizer=fn.Adam(0.01),
        validation_data=(X[20:], noise[20:]),
        callbacks=[stopping],
    )
    assert history.epochs < 500
    assert history.epochs == stopping.stopped_epoch + 1 == stopping.best_epoch + 5
    assert net.evaluate(X[20:], noise[20:])["loss"] == pytest.approx(min(history.val_loss), rel=1e-6)


def test_unknown_monitor():
    with pytest.raises(
        ValueError, match="'val_loss', but there is only learning_rate, loss; give fit validation_data"
    ):
        network().fit(X, Y, callbacks=[fn.EarlyStopping()])
    with pytest.raises(ValueError, match="'accuracy'"):
        network().fit(X, Y, callbacks=[fn.EarlyStopping("accuracy")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patience": 0}, "patience"),
        ({"min_delta": -1.0}, "min_delta"),
        ({"mode": "auto"}, "mode must be one of min, max"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        fn.EarlyStopping(**arguments)


@pytest.mark.parametrize(
    "make", [fn.EarlyStopping, fn.ReduceLROnPlateau, lambda m: fn.ModelCheckpoint("x", m)]
)
def test_a_monitor_is_a_name(make):
    with pytest.raises(TypeError, match="restore_best must be True or False, not 'no'"):
        fn.EarlyStopping(restore_best="no")
    with pytest.raises(TypeError, match="save_best_only must be True or False, not 1"):
        fn.ModelCheckpoint("best", save_best_only=1)
    with pytest.raises(TypeError, match="monitor must be the name of a value, such as 'val_loss', not 3"):
        make(3)


def test_stop_before_an_epoch():
    class Stop(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            net.stop_training = epoch == 2

    recorder = Recorder()
    net, reference = network(), network()
    assert net.fit(X, Y, epochs=9, callbacks=[recorder, Stop()]).epochs == 2
    assert recorder.calls[-3:] == ["end 1", "begin 2", "train end"]
    reference.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(net.parameters, reference.parameters)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"])
def test_callbacks_learn_of_an_exception(hook):
    class Learns(Recorder):
        def on_exception(self, net, error):
            self.calls.append(repr(error))

    fails, learns = fn.Callback(), Learns()

    def fail(*arguments):
        raise KeyboardInterrupt("mine")

    setattr(fails, hook, fail)
    with pytest.raises(KeyboardInterrupt, match="mine"):
        network().fit(X, Y, epochs=1, callbacks=[learns, fails])
    assert learns.calls[-1] == "KeyboardInterrupt('mine')"
    assert learns.calls.count("KeyboardInterrupt('mine')") == 1


@pytest.mark.parametrize("of_data", [False, True])
def test_an_error_in_on_exception_hides_nothing(tmp_path, of_data):
    class Fails(Recorder):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt("mine")

        def on_exception(self, net, error):
            raise ZeroDivisionError("another")

    class Learns(fn.Callback):
        def on_exception(self, net, error):
            self.error = error

    learns, checkpoint = Learns(), fn.ModelCheckpoint(tmp_path / "{epoch}", every=10)
    y = np.full(40, np.nan) if of_data else Y
    with pytest.raises(ValueError if of_data else KeyboardInterrupt, match=r"finite|mine") as caught:
        network().fit(X, y, callbacks=[Fails(), checkpoint, learns])
    assert learns.error is caught.value
    [note] = caught.value.__notes__
    assert "Fails.on_exception" in note
    assert "raised ZeroDivisionError('another')" in note
    assert [path.name for path in tmp_path.iterdir()] == ([] if of_data else ["1"])


def test_callbacks_learn_of_wrong_data():
    class Learns(fn.Callback):
        def on_exception(self, net, error):
            self.error = error

    learns = Learns()
    with pytest.raises(ValueError, match="finite"):
        network().fit(X, np.full(40, np.nan), callbacks=[learns])
    assert isinstance(learns.error, ValueError)


def test_the_optimizer_is_at_hand():
    class Halve(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.optimizer.learning_rate /= 2

    net, optimizer = network(), fn.SGD(0.08)
    assert net.optimizer is None
    history = net.fit(X, Y, epochs=3, optimizer=optimizer, callbacks=[Halve()])
    assert net.optimizer is optimizer
    assert history.learning_rate == [0.08, 0.04, 0.02]
    assert net.copy().optimizer is None


def test_a_single_callback_is_not_a_list():
    with pytest.raises(TypeError, match=r"callbacks must be a list of callbacks, not <.*Recorder"):
        network().fit(X, Y, callbacks=Recorder())


def test_what_else_could_be_monitored():
    for options, ending in ({}, "; give fit validation_data"), ({"validation_data": (X, Y)}, "val_loss"):
        with pytest.raises(ValueError, match=rf"monitors 'val_r2', but there is only .*{ending}$"):
            network().fit(X, Y, callbacks=[fn.EarlyStopping("val_r2")], **options)
