"""The parameters and attributes that both estimators have, put into their docstrings."""

from __future__ import annotations

import inspect
from typing import TypeVar

__all__ = ["document"]

_Class = TypeVar("_Class", bound=type)

_PARAMETERS = """
hidden_layer_sizes : int or sequence of int, default (100,)
    The widths of the hidden layers.
activation : str or sequence of str, default "relu"
    Of the hidden layers: "identity", "logistic", "tanh" or "relu"; beyond scikit-learn "leaky_relu", "elu",
    "gelu", "silu", "softplus" and "exp", and a list with one for each hidden layer.
solver : str, default "adam"
    "sgd", "adam" (Kingma, Ba, ICLR 2015) or "lbfgs", SciPy's L-BFGS-B over all samples at once; beyond
    scikit-learn "adamw" and "rmsprop", which are `fusednet.AdamW` and `fusednet.RMSprop`.
alpha : float, default 0.0001
    Adds alpha / (2 Σ w) · Σ W² to the loss of a batch: over all weights W, biases left out, and with the sum
    of the batch's sample weights, or number of samples, below.
batch_size : int or "auto", default "auto"
    Samples a step; "auto" means 200, or all where there are fewer. Not for "lbfgs".
learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
    For "sgd". "invscaling": learning_rate_init / t^power_t, t being the samples seen so far plus 1, from the
    second epoch on. "adaptive": divided by 5 whenever the training would stop, until it is below 1e-6.
learning_rate_init : float, default 0.001
    The learning rate, or its first value.
power_t : float, default 0.5
    The exponent of "invscaling".
max_iter : int, default 200
    The most epochs; for "lbfgs", iterations.
shuffle : bool, default True
    Whether each epoch takes the samples in a new order.
random_state : int, RandomState or None, default None
    Where weights, held-out samples, orders and dropout come from.
tol : float, default 1e-4
    Training stops once loss or score have failed to improve by this for more than `n_iter_no_change` epochs
    in a row; for "lbfgs" once no element of the gradient exceeds it.
verbose : bool or int, default False
    Whether to print each epoch's loss.
warm_start : bool, default False
    Whether `fit` starts from the weights of the last one.
momentum : float, default 0.9
    μ of "sgd": v ← μv − αg, w ← w + v.
nesterovs_momentum : bool, default True
    Whether "sgd" looks ahead: w ← w + μv − αg.
early_stopping : bool, default False
    Whether to go by the score on held-out samples, and to end with the weights that scored best.
validation_fraction : float, default 0.1
    The share of the samples that `early_stopping` holds out.
beta_1, beta_2 : float, default 0.9 and 0.999
    How slowly Adam's moments forget.
epsilon : float, default 1e-8
    ε of "adam", "adamw" and "rmsprop".
n_iter_no_change : int or inf, default 10
    Training stops after more than so many epochs in a row without improvement.
max_fun : int, default 15000
    The most evaluations of the loss by "lbfgs".
dropout : float or sequence of float, default 0.0
    The share of each hidden layer's outputs set to zero in training; a list has one for each hidden layer.
weight_decay : float, default 0.01
    The decay of "adamw".
rho : float, default 0.99
    How slowly "rmsprop" forgets.
standardize : bool, default False
    Whether X, and in regression y unless the loss is "poisson", are scaled by their means and standard
    deviations. These are learnt at the first fit, kept with the model, and applied in `predict`.
callbacks : list of fusednet.Callback, optional
    Called as `Network.fit` calls them, with a `Network` whose parameters are the estimator's own; its outputs
    are scaled ones where targets are. Its L2 term is alpha over the size of a batch; a file that it is saved
    to has alpha alone. The values of an epoch are "loss" and "learning_rate", with validation data also
    "val_loss" and "val_score".
progress : bool, default False
    Whether a terminal or notebook shows a progress bar.
"""

_ATTRIBUTES = """
coefs_, intercepts_ : list of ndarray
    The weights of each layer, of shape (inputs, outputs), and its biases. They may be assigned, and changed
    in place.
loss_ : float
    The last epoch's loss.
best_loss_ : float or None
    The lowest loss of an epoch; None under `early_stopping`.
loss_curve_ : list of float
    The loss of each epoch, L2 term included, taken while the weights change. "lbfgs" leaves it as it is, and
    so `best_loss_`.
validation_scores_ : list of float or None
    The score on validation data after each epoch: accuracy or R².
validation_curve_ : list of float or None
    The loss on validation data after each epoch, without the L2 term.
best_validation_score_ : float or None
    The highest of them.
stopped_early_ : bool
    Whether the last call met the stopping criterion.
t_ : int
    How many samples have been trained on, counted anew in each epoch.
n_iter_ : int
    The epochs, or iterations, of the last call.
n_layers_, n_outputs_ : int
    How many layers there are, the input counted, and how many outputs.
out_activation_ : str
    The output activation: "identity", "exp", "logistic" or "softmax".
n_features_in_ : int
    How many features the first fit had.
feature_names_in_ : ndarray of str
    Their names, where X had any.
input_scaling_, target_scaling_ : object or None
    Under `standardize`, with `mean` and `scale`; a classifier has no `target_scaling_`.
"""


def document(cls: _Class, parameters: str = _PARAMETERS, attributes: str = _ATTRIBUTES) -> _Class:
    """Fill in the shared parts of a class's docstring."""
    text = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", parameters.strip())
    cls.__doc__ = text.replace("{attributes}", attributes.strip())
    return cls
