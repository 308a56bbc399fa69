"""The contenders: each trains and serves the same network in its library's fastest reasonable idiom.

A module here defines ``Contender(weights, activation, learning_rate, batch_size, dtype)`` with

- ``train_epoch(X, y)``: plain SGD on the mean squared error, over consecutive minibatches;
- ``predict(X)``, and ``single(x)``: a callable without arguments that predicts the one row x;
- ``weights()``: the pairs (W of shape (in, out), b) as NumPy arrays.
"""

NAMES = {
    "fusednet": "fusednet_net",
    "NumPy": "numpy_net",
    "scikit-learn": "sklearn_net",
    "PyTorch eager": "torch_eager",
}
