"""What is measured: the networks, batches and sizes, and how many operations each takes."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Adam's. The last is far below its customary 1e-8 because scikit-learn adds it before the bias correction and
# the others after it: so the results agree all the same.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-10


@dataclass(frozen=True)
class Case:
    widths: tuple[int, ...]
    batch: int  # rows of a minibatch, or of one prediction
    activation: str = "tanh"
    loss: str = "mse"
    optimizer: str = "sgd"
    dtype: str = "float32"

    @property
    def rate(self):
        """The learning rate: too low to learn the random targets by heart while training is timed.

        Units that then die under ReLU take Adam's moments into subnormal numbers, where processors are slow.
        """
        return 1e-5 if self.optimizer == "adam" else 1e-2

    @property
    def label(self):
        more = ", ReLU" * (self.activation == "relu") + ", Adam" * (self.optimizer == "adam")
        return f"{'-'.join(map(str, self.widths))} / {self.batch:,}{more}"

    @property
    def prediction_flops(self):
        """Multiplications and additions of the products, 2·m·k·n each; the rest is not counted."""
        return 2 * self.batch * sum(i * o for i, o in pairwise(self.widths))

    @property
    def training_flops(self):
        """Those of the outputs, the weight gradients, and the input gradients of all layers but the first."""
        return 3 * self.prediction_flops - 2 * self.batch * self.widths[0] * self.widths[1]

    @property
    def steps(self):
        """The steps of an epoch: some 20 ms, so that what a library does once an epoch hardly counts."""
        return int(np.clip(2e9 / self.training_flops, 4, 2000))

    def weights(self, seed=0):
        """Return the initial weights, the same in every process."""
        rng = np.random.default_rng(seed)
        return [
            (
                (rng.uniform(-1, 1, (i, o)) / np.sqrt(i)).astype(self.dtype),
                rng.uniform(-0.1, 0.1, o).astype(self.dtype),
            )
            for i, o in pairwise(self.widths)
        ]

    def inputs(self, rows, seed=1):
        # A block of random rows over and over: as good as fresh ones here, and 100,000 of them come at once.
        block = np.random.default_rng(seed).standard_normal((min(rows, 4096), self.widths[0]))
        return np.resize(block.astype(self.dtype), (rows, self.widths[0]))

    def targets(self, rows, seed=2):
        rng = np.random.default_rng(seed)
        if self.loss == "cross_entropy":
            return rng.integers(self.widths[-1], size=rows)
        return rng.standard_normal((rows, self.widths[-1])).astype(self.dtype)


SGD = [
    Case((2, 16, 1), 4),
    Case((8, 16, 16, 1), 32),
    Case((32, 64, 64, 64, 64, 4), 32),
    Case((64, 128, 128, 1), 32),
    Case((64, 128, 128, 1), 256),
    Case((64, 128, 128, 1), 5_000),
    Case((784, 10), 128),  # a linear model: few columns, and more inputs than products
    Case((784, 32, 10), 128),  # whose inputs take as long to come as its products
    Case((784, 256, 128, 10), 64),
    Case((784, 512, 512, 10), 128),
    Case((1024, 1024, 1024, 1024), 128),
]
ADAM = [
    Case((4, 16, 3), 32, "relu", "cross_entropy", "adam"),  # whose softmax takes as long as its products
    Case((784, 256, 128, 10), 64, "relu", "cross_entropy", "adam"),
    Case((784, 512, 512, 10), 128, "relu", "cross_entropy", "adam"),
]
TRAINING = SGD + ADAM

PREDICTION = [
    Case(widths, rows)
    for widths in ((2, 16, 1), (64, 64, 64, 1), (64, 128, 128, 1), (784, 512, 512, 10))
    for rows in (1, 32, 1_000, 100_000)
] + [Case((64, 128, 128, 1), 100_000, "relu"), Case((256, 32, 10), 100_000)]

WIDTHS = (
    *(16, 32, 48, 64, 96, 127, 128, 129, 192, 255, 256, 257, 384, 500, 512, 640, 768, 896),
    *(1000, 1023, 1024, 1025, 1280, 1536, 2047, 2048, 2049),
)
BATCHES = (1, 2, 4, 8, 16, 17, 24, 31, 32, 33, 48, 64, 100, 128, 256, 512, 1000, 1024)
SWEEP = {
    "width": [Case((width,) * 4, 64) for width in WIDTHS],
    "batch": [Case((256,) * 4, batch) for batch in BATCHES],
}

# The network of the measurements that are about one: memory, the first step, and what `fit` costs.
TYPICAL = Case((64, 128, 128, 1), 32)
