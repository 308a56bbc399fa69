"""Train one network with several processes: ``mpiexec -n 4 python examples/distributed_digits.py``."""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fusednet as fn


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16.0  # grey levels 0 to 16 become 0 to 1
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

    net = fn.Network([64, 128, 64, 10], output="softmax", loss="cross_entropy", seed=0)
    trainer = fn.distributed.DataParallel(net)
    rank, ranks = trainer.comm.rank, trainer.comm.size
    mine = slice(rank, None, ranks)  # every rank holds its own rows

    start = time.perf_counter()
    history = trainer.fit(
        X_train[mine],
        y_train[mine],
        epochs=60,
        batch_size=64,  # on all ranks together
        optimizer=fn.Adam(0.003),
        validation_data=(X_val[mine], y_val[mine]),
        metrics={"accuracy": lambda y_true, y_pred: np.mean(y_pred.argmax(axis=1) == y_true)},
        callbacks=[fn.EarlyStopping(patience=10)],
    )
    seconds = time.perf_counter() - start

    if rank == 0:
        best = history.best_epoch
        print(f"{ranks} ranks, {history.epochs} epochs in {seconds:.2f} s")
        print(f"validation accuracy after epoch {best}: {100 * history.metrics['val_accuracy'][best]:.1f} %")


if __name__ == "__main__":
    main()
