"""KANN (a small C library, through cynn), predictions of single rows only.

It has no way to set weights but to load a file, so a network of the right shape is saved, and the weights at
the end of its file are replaced.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from cynn import kann


class Contender:
    def __init__(self, case, weights, threads):
        kann.set_verbose(0)
        builder = kann.GraphBuilder()
        value = builder.input(case.widths[0])
        for width in case.widths[1:-1]:
            value = getattr(builder, case.activation)(builder.dense(value, width))
        net = builder.build(builder.mse_layer(value, case.widths[-1]))
        flat = np.concatenate([part.ravel() for W, b in weights for part in (W.T, b)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.kann"
            net.save(os.fspath(path))
            head = path.read_bytes()[: -4 * (net.n_var + net.n_const)]
            path.write_bytes(head + flat.tobytes() + bytes(4 * net.n_const))
            self.net = kann.KannNeuralNetwork.load(os.fspath(path))

    def predictor(self, X):
        return partial(self.net.apply, X[0])
