"""Predict the progression of diabetes in 442 patients, beside scikit-learn's MLPRegressor of the same shape.

A quarter of the patients is held out, and both learn from the rest: the same layer, distribution of the
initial weights, penalty, batches, optimizer and number of epochs. So few patients are soon learnt by heart;
dropout, which scikit-learn's network does not have, holds that off. Ten splits, because one of so few says
little.
"""

import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

import fusednet as fn


def main() -> None:
    X, y = load_diabetes(return_X_y=True)
    scores = []
    for seed in range(10):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
        mean, deviation = y_train.mean(), y_train.std()
        target = (y_train - mean) / deviation

        net = fn.Network([10, 32, 1], initializer="glorot_uniform", l2=0.01, dropout=0.3, seed=seed)
        net.fit(X_train, target, epochs=40, batch_size=32, optimizer=fn.Adam(0.001), progress=False)
        ours = net.evaluate(X_test, (y_test - mean) / deviation)["r2"]

        # scikit-learn divides alpha by the size of a batch, and its loss is half of ours: 0.01 · 32 / 2.
        peer = MLPRegressor(
            hidden_layer_sizes=(32,), batch_size=32, max_iter=40, alpha=0.16, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 40 epochs are what both get
            peer.fit(X_train, target)
        theirs = peer.score(X_test, (y_test - mean) / deviation)
        scores.append((ours, theirs))
        print(f"seed {seed}: test R² {ours:.3f}, scikit-learn {theirs:.3f}")
    ours, theirs = np.mean(scores, axis=0)
    print(f"mean test R²: {ours:.3f}, scikit-learn {theirs:.3f}")


if __name__ == "__main__":
    main()
