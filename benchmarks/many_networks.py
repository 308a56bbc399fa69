"""Many networks at once: `fit_many` beside loops, processes and vmap.

64 networks of 8-32-32-1 (ReLU, mean squared error, plain SGD, minibatches of 32, float32) learn from the same
5,000 rows, each from its own initial weights and in its own order. ``python -m benchmarks.many_networks``
prints how long an epoch of all takes each, on one core and on all; what is not installed says so.
"""

import argparse
import itertools
import json
import subprocess
import time
import warnings

import numpy as np

from .processes import ROOT, affinity, available_cores, environment, module

NETWORKS, WIDTHS, ROWS, BATCH, RATE = 64, (8, 32, 32, 1), 5000, 32, 0.01
SECONDS = 10  # at least for so long each contender is measured: the minimum of a few moments would be luck


def make_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, WIDTHS[0])).astype(np.float32)
    y = np.sin(X[:, 0]) + 0.5 * X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=ROWS).astype(np.float32)
    return X, y.astype(np.float32)


class FitMany:
    """All by one call."""

    def __init__(self, X, y, cores):
        import fusednet as fn

        self.fn, self.X, self.y = fn, X, y
        self.networks = [fn.Network(WIDTHS, seed=seed) for seed in range(NETWORKS)]
        self.options = {"batch_size": BATCH, "optimizer": fn.SGD(RATE)}

    def train(self, epochs):
        self.fn.fit_many(self.networks, self.X, self.y, epochs=epochs, **self.options)

    def predict(self):
        return [net.predict(self.X)[:, 0] for net in self.networks]


class FitLoop(FitMany):
    """One `fit` after the other."""

    def train(self, epochs):
        for net in self.networks:
            net.fit(self.X, self.y, epochs=epochs, progress=False, **self.options)


def sklearn_network(seed, X, y, epochs):
    from sklearn.neural_network import MLPRegressor

    net = MLPRegressor(
        hidden_layer_sizes=WIDTHS[1:-1],
        solver="sgd",
        alpha=0.0,
        batch_size=BATCH,
        learning_rate_init=2 * RATE,  # its squared error is halved
        momentum=0.0,
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of not having converged
        return net.fit(X, y)


class SklearnLoop:
    """scikit-learn's MLPRegressor, one after the other."""

    def __init__(self, X, y, cores):
        self.X, self.y, self.cores = X, y, cores

    def train(self, epochs):
        self.networks = [sklearn_network(seed, self.X, self.y, epochs) for seed in range(NETWORKS)]

    def predict(self):
        return [net.predict(self.X) for net in self.networks]


class SklearnJoblib(SklearnLoop):
    """The same in as many processes as there are cores."""

    def train(self, epochs):
        from joblib import Parallel, delayed

        self.networks = Parallel(self.cores)(
            delayed(sklearn_network)(seed, self.X, self.y, epochs) for seed in range(NETWORKS)
        )


class TorchVmap:
    """torch.func: the gradients of all networks by vmap, a step of all at a time."""

    def __init__(self, X, y, cores):
        import torch
        from torch import nn

        torch.set_num_threads(cores)
        self.torch, self.X, self.y = torch, torch.from_numpy(X), torch.from_numpy(y[:, None])

        def make():
            layers = []
            for a, b in itertools.pairwise(WIDTHS):
                layers += [nn.Linear(a, b), nn.ReLU()]
            return nn.Sequential(*layers[:-1])

        torch.manual_seed(0)
        self.parameters, _ = torch.func.stack_module_state([make() for _ in range(NETWORKS)])
        self.parameters = {name: p.detach() for name, p in self.parameters.items()}
        base = make()

        def loss(parameters, x, y):
            return ((torch.func.functional_call(base, parameters, (x,)) - y) ** 2).mean()

        self.gradients = torch.vmap(torch.func.grad(loss))
        self.outputs = torch.vmap(
            lambda parameters, x: torch.func.functional_call(base, parameters, (x,)), in_dims=(0, None)
        )

    def train(self, epochs):
        torch = self.torch
        with torch.no_grad():
            for _ in range(epochs):
                order = torch.stack([torch.randperm(ROWS) for _ in range(NETWORKS)])
                for rows in order.split(BATCH, dim=1):
                    gradients = self.gradients(self.parameters, self.X[rows], self.y[rows])
                    for name, p in self.parameters.items():
                        p.sub_(gradients[name], alpha=RATE)

    def predict(self):
        with self.torch.no_grad():
            return self.outputs(self.parameters, self.X)[:, :, 0].numpy()


class JaxVmap:
    """JAX: an epoch is one compiled lax.scan over the steps, each of all networks by vmap."""

    def __init__(self, X, y, cores):
        import jax
        import jax.numpy as jnp

        self.jax, self.X, self.y = jax, jnp.array(X), jnp.array(y[:, None])
        rng = np.random.default_rng(0)
        self.parameters = [
            (
                jnp.array(rng.normal(0, (2 / a) ** 0.5, (NETWORKS, a, b)).astype(np.float32)),
                jnp.zeros((NETWORKS, b)),
            )
            for a, b in itertools.pairwise(WIDTHS)
        ]
        self.key = jax.random.key(0)

        def forward(parameters, x):
            *hidden, (W, b) = parameters
            for V, c in hidden:
                x = jax.nn.relu(x @ V + c)
            return x @ W + b

        def loss(parameters, x, y):
            return jnp.mean((forward(parameters, x) - y) ** 2)

        def step(parameters, rows, X, y):
            gradients = jax.vmap(jax.grad(loss))(parameters, X[rows], y[rows])
            return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradients), None

        def epoch(parameters, key, X, y):
            order = jax.vmap(lambda k: jax.random.permutation(k, ROWS))(jax.random.split(key, NETWORKS))
            whole = ROWS // BATCH * BATCH
            batches = order[:, :whole].reshape(NETWORKS, -1, BATCH).swapaxes(0, 1)
            parameters, _ = jax.lax.scan(lambda p, rows: step(p, rows, X, y), parameters, batches)
            return step(parameters, order[:, whole:], X, y)[0]

        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.outputs = jax.vmap(forward, in_axes=(0, None))

    def train(self, epochs):
        for _ in range(epochs):
            self.key, key = self.jax.random.split(self.key)
            self.parameters = self.epoch(self.parameters, key, self.X, self.y)
        self.jax.block_until_ready(self.parameters)

    def predict(self):
        return np.asarray(self.outputs(self.parameters, self.X))[:, :, 0]


CONTENDERS = {
    "fusednet, fit_many": FitMany,
    "fusednet, a loop of fit": FitLoop,
    "scikit-learn, a loop": SklearnLoop,
    "scikit-learn, joblib": SklearnJoblib,
    "PyTorch, vmap": TorchVmap,
    "JAX, vmap": JaxVmap,
}
ONE_THREAD_EACH = ("fusednet, a loop of fit", "scikit-learn, a loop", "scikit-learn, joblib")


def child(name, cores, rounds, epochs):
    """Return seconds an epoch of all networks, and the share of the variance that they explain."""
    X, y = make_data()
    contender = CONTENDERS[name](X, y, cores)
    contender.train(1)  # compiles, starts threads and processes
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < rounds or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        contender.train(epochs)
        times.append((time.perf_counter() - start) / epochs)
    residual = y - np.asarray(contender.predict())
    return {"seconds": min(times), "r2": float(1 - np.mean(residual**2) / np.var(y))}


def measure(name, cores, rounds, epochs):
    """Run a contender in a process of its own."""
    threads = 1 if name in ONE_THREAD_EACH or len(cores) == 1 else None
    arguments = ["--child", name, "--rounds", str(rounds), "--epochs", str(epochs)]
    with affinity(set(cores)):
        done = subprocess.run(
            module("many_networks", *arguments),
            capture_output=True,
            text=True,
            env=environment(threads),
            cwd=ROOT,
        )
    if done.returncode:
        return {"failure": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="at least")
    parser.add_argument("--epochs", type=int, default=5, help="in each round")
    parser.add_argument("--cores", choices=("one", "all", "both"), default="both")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = available_cores()
    if options.child:
        print(json.dumps(child(options.child, len(cores), options.rounds, options.epochs)))
        return
    for chosen in {"one": [cores[:1]], "all": [cores], "both": [cores[:1], cores]}[options.cores]:
        print(f"{len(chosen)} core{'s' * (len(chosen) > 1)}, an epoch of {NETWORKS} networks:")
        fastest = None
        for name in CONTENDERS:
            result = measure(name, chosen, options.rounds, options.epochs)
            if "failure" in result:
                print(f"  {name:26}{result['failure']}")
                continue
            fastest = fastest or result["seconds"]
            ratio = result["seconds"] / fastest
            print(f"  {name:26}{1e3 * result['seconds']:9.1f} ms {ratio:7.1f}×   R² {result['r2']:.3f}")


if __name__ == "__main__":
    main()
