"""Intervals for the progression of diabetes in 442 patients, and how many patients lie in them.

Fifty small networks learn from bootstrap samples of the same patients, side by side. Their mean is the
prediction; their spread, with the noise found on the patients that a network has not learnt from, is its
standard deviation. Five folds leave each patient out once. Intervals are honest if they hold as many of the
patients left out as they say; those of the spread alone, often taken for the uncertainty, are not.
"""

import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold

import fusednet as fn

LEVELS = np.array([0.5, 0.8, 0.9, 0.95])
NETWORKS = 50


def out_of_fold(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict each patient by an ensemble that has not seen them: mean, deviation, spread."""
    mean, std, spread = np.empty((3, len(y)))
    for fold, (train, test) in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
        center, scale = y[train].mean(), y[train].std()
        networks = [
            fn.Network([10, 16, 1], "tanh", l2=0.01, seed=[fold, member]) for member in range(NETWORKS)
        ]
        for net in networks:
            net.standardize(X[train])
        ensemble = fn.Ensemble(networks)
        ensemble.fit(
            X[train], (y[train] - center) / scale, bootstrap=True, epochs=40, optimizer=fn.Adam(0.005)
        )
        prediction, deviation = ensemble.predict(X[test], return_std=True)
        mean[test] = center + scale * prediction[:, 0]
        std[test] = scale * deviation[:, 0]
        spread[test] = scale * np.std([net.predict(X[test])[:, 0] for net in networks], axis=0)
        print(f"fold {fold}: noise {scale * ensemble.noise[0]:.1f}")
    return mean, std, spread


def coverage(error: np.ndarray, std: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of the errors that lie in the intervals of these levels, ± z·std."""
    return np.array([np.mean(np.abs(error) <= norm.ppf(0.5 + level / 2) * std) for level in levels])


def draw(y: np.ndarray, mean: np.ndarray, std: np.ndarray, spread: np.ndarray, path: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(2, 1), layout="constrained")
    order = np.argsort(mean)
    place, half = np.arange(len(y)), norm.ppf(0.95) * std[order]
    left.fill_between(
        place, mean[order] - half, mean[order] + half, color="#c6dbef", linewidth=0, label="90 % interval"
    )
    left.plot(place, mean[order], color="#08519c", linewidth=1.5, label="prediction")
    inside = np.abs(y - mean)[order] <= half
    for mask, colour, label in ((inside, "#444444", "in the interval"), (~inside, "#c1121f", "outside")):
        label = f"{label}: {mask.sum()} patients"
        left.plot(place[mask], y[order][mask], ".", color=colour, markersize=5, label=label)
    left.set(xlabel="patients, by their prediction", ylabel="progression", xlim=(0, len(y) - 1))
    left.legend(loc="upper left", frameon=False)
    levels = np.linspace(0.01, 0.99, 99)
    right.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1, label="honest")
    right.plot(levels, coverage(y - mean, std, levels), color="#08519c", label="spread and noise")
    right.plot(levels, coverage(y - mean, spread, levels), color="#c1121f", label="spread alone")
    right.set(xlabel="what the interval says", ylabel="patients in it", xlim=(0, 1), ylim=(0, 1), aspect=1)
    right.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def main() -> None:
    X, y = load_diabetes(return_X_y=True)
    mean, std, spread = out_of_fold(X, y)
    error = y - mean
    print(f"R² of patients left out: {1 - np.mean(error**2) / np.var(y):.3f}")
    print("interval   patients in it   by the spread alone")
    covered = zip(LEVELS, coverage(error, std, LEVELS), coverage(error, spread, LEVELS), strict=True)
    for level, honest, naive in covered:
        print(f"{level:8.0%} {honest:16.1%} {naive:21.1%}")
    draw(y, mean, std, spread, "ensemble_intervals.png")


if __name__ == "__main__":
    main()
