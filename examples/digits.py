"""Train a network on scikit-learn's 1,797 scanned digits, save it, load it, and draw its learning curve."""

import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fusednet as fn


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16.0  # grey levels 0 to 16 become 0 to 1
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

    net = fn.Network([64, 128, 64, 10], output="softmax", loss="cross_entropy", dropout=0.1, seed=0)
    print(net.summary())

    start = time.perf_counter()
    history = net.fit(
        X_train,
        y_train,
        epochs=60,
        batch_size=32,
        optimizer=fn.AdamW(fn.schedules.cosine(0.003, epochs=60)),
        validation_data=(X_test, y_test),
    )
    seconds = time.perf_counter() - start

    model = Path("digits.safetensors")
    net.save(model)
    if not np.array_equal(fn.load(model).predict(X_test), net.predict(X_test)):
        raise RuntimeError("the loaded network predicts otherwise than the saved one")
    print(f"saved {model} ({model.stat().st_size / 1024:.0f} KiB); loaded, it gives the same predictions")

    picture = Path("digits_learning_curve.png")
    history.plot().figure.savefig(picture, dpi=150)
    print(f"drew {picture}")

    print(f"test accuracy: {100 * net.evaluate(X_test, y_test)['accuracy']:.1f} %")
    print(f"training time: {seconds:.2f} s")


if __name__ == "__main__":
    main()
