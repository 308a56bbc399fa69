"""Networks from and to PyTorch: the same outputs, training that goes on the same, and what is refused."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

import fusednet as fn

from helpers import OUTPUTS, random_biases

torch = pytest.importorskip("torch", reason="converts PyTorch's modules, which is not installed")
nn = torch.nn
prune = pytest.importorskip("torch.nn.utils.prune")
torch.set_num_threads(1)

MODULES = {
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(inplace=True),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(),
    "softmax": nn.Softmax(dim=1),
}


def outputs(module, X):
    with torch.no_grad():
        return module(torch.tensor(X)).numpy()


def data(dtype="float32", n=200, features=5):
    return (3 * np.random.default_rng(0).normal(size=(n, features))).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_activations_come_in(name, dtype):
    torch.manual_seed(0)
    hidden = nn.Tanh() if name == "softmax" else MODULES[name]
    module = nn.Sequential(nn.Linear(5, 9), hidden, nn.Linear(9, 3), MODULES[name]).to(getattr(torch, dtype))
    net = fn.from_torch(module)
    assert net.dtype == dtype
    assert net.layers[1].activation == name
    X = data(dtype)
    # PyTorch's Softplus is the identity above 20, an error of 2e-9.
    rtol = 1e-5 if dtype == "float32" else 1e-8 if name == "softplus" else 1e-12
    np.testing.assert_allclose(net.predict(X), outputs(module, X), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
def test_out_and_in_again(output, standardized, dtype):
    X = data(dtype)
    hidden = "tanh" if output in ("softmax", "exp") else output
    net = fn.Network([5, 9, 3], hidden, output=output, dtype=dtype, seed=0)
    random_biases(net, np.random.default_rng(1))
    if standardized:
        net.standardize(X + np.arange(5))
    module = net.to_torch()
    assert not module.training
    rtol = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(outputs(module, X), net.predict(X), rtol=rtol, atol=rtol)
    again = fn.from_torch(module)
    assert repr(again.layers) == repr(net.layers)
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=rtol, atol=rtol)
    if not standardized:
        np.testing.assert_array_equal(again.parameters, net.parameters)


def test_real_data():
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    images = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2)), nn.Linear(32, 10)
    )
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for first in range(0, 1200, 100):
        loss = nn.functional.cross_entropy(
            module(torch.tensor(images[first : first + 100])), torch.tensor(y[first : first + 100])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net = fn.from_torch(nn.Sequential(module, nn.Softmax(-1)))
    flat = images.reshape(-1, 64)
    expected = outputs(module.eval(), images)
    np.testing.assert_allclose(net.predict(flat, logits=True), expected, rtol=1e-5, atol=1e-5)
    assert net.loss == "cross_entropy"
    assert net.dropout == (0.2,)
    before = net.evaluate(flat, y)
    net.fit(flat, y, epochs=15, optimizer=fn.Adam(0.002))
    after = net.evaluate(flat, y)
    assert after["loss"] < before["loss"] / 2
    assert after["accuracy"] > 0.95


@pytest.mark.parametrize("there", [True, False])
def test_training_goes_on_the_same(there):
    """Train a network and its double, whichever was made of the other."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X * 20, (y[:, None] - 150) / 77
    if there:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1)).double()
        net = fn.from_torch(module)
    else:
        net = fn.Network([10, 16, 1], "tanh", dtype="float64", seed=0)
        module = net.to_torch().train()
    ours, theirs = fn.Adam(0.01), torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(20):
        loss = nn.functional.mse_loss(module(torch.tensor(X)), torch.tensor(y))
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        assert net.train_step(X, y, ours) == pytest.approx(loss.item(), rel=1e-10)
    np.testing.assert_allclose(net.predict(X), outputs(module, X), rtol=1e-9, atol=1e-11)


def test_neither_shares_memory_with_the_other():
    module = nn.Sequential(nn.Linear(3, 2))
    net = fn.from_torch(module)
    again = net.to_torch()
    before = module[0].weight.detach().clone()
    net.parameters[:] = 0
    assert torch.equal(module[0].weight, before)
    assert torch.equal(again[0].weight, before)


def test_frozen_layers_and_missing_biases():
    module = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    net = fn.from_torch(module)
    assert [layer.trainable for layer in net.layers] == [False, True]
    assert net.layers[0].bias is None
    again = net.to_torch()
    assert [p.requires_grad for p in again.parameters()] == [False, True, True]
    assert again[0].bias is None


def test_standardization_makes_a_bias():
    net = fn.Network([fn.Dense(5, 2, bias=False, seed=0)])
    net.standardize(data() + 1)
    module = net.to_torch()
    assert module[0].bias is not None
    np.testing.assert_allclose(outputs(module, data()), net.predict(data()), rtol=1e-5, atol=1e-6)


def test_dropout_goes_out():
    module = fn.Network([3, 8, 8, 1], dropout=[0.0, 0.25], seed=0).to_torch()
    rates = [part.p for part in module if isinstance(part, nn.Dropout)]
    assert rates == [0.25]
    assert isinstance(module[-2], nn.Dropout)


def test_dropout_before_relu_is_dropout_after_it():
    net = fn.from_torch(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.ReLU(), nn.Linear(4, 1)))
    assert net.dropout == (0.1,)


def test_parts_that_occur_twice_or_have_names():
    act = nn.Tanh()
    parts = OrderedDict(first=nn.Linear(3, 3), act=act, second=nn.Linear(3, 3), again=act)
    net = fn.from_torch(nn.Sequential(parts))
    assert [layer.activation for layer in net.layers] == ["tanh", "tanh"]


def test_one_linear_layer_is_a_model_too():
    module = nn.Linear(3, 2)
    X = data(features=3)
    np.testing.assert_allclose(fn.from_torch(module).predict(X), outputs(module, X), rtol=1e-5, atol=1e-6)


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    fn.Network([3, 8, 1]).to_torch()
    assert torch.equal(torch.get_rng_state(), state)


def test_exp_can_be_pickled():
    module = fn.Network([3, 2], output="exp", seed=0).to_torch()
    X = data(features=3)
    np.testing.assert_array_equal(outputs(pickle.loads(pickle.dumps(module)), X), outputs(module, X))


def test_seed():
    def trained(seed):
        net = fn.from_torch(module, seed=seed)
        X = data(n=64)
        net.fit(X, X[:, :1], epochs=2)
        return net.parameters

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    np.testing.assert_array_equal(trained(3), trained(3))
    assert (trained(3) != trained(4)).any()


def test_the_loss_goes_with_the_output_unless_given():
    def loss(*parts, **options):
        return fn.from_torch(nn.Sequential(nn.Linear(3, 2), *parts), **options).loss

    assert loss() == "mse"
    assert loss(nn.Sigmoid()) == "binary_cross_entropy"
    assert loss(nn.Softmax(-1)) == "cross_entropy"
    assert loss(loss="huber") == "huber"
    with pytest.raises(ValueError, match='needs output="softmax"'):
        loss(loss="cross_entropy")


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "wrap", [nn.utils.weight_norm, lambda part: prune.l1_unstructured(part, "weight", 3)]
)
def test_weights_that_hooks_compute(wrap):
    """They are what the next forward makes of the parameters, not what the last one did."""
    module = nn.Sequential(wrap(nn.Linear(5, 3, bias=False)), nn.Tanh())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= 2
        net = fn.from_torch(module)
    assert net.layers[0].trainable
    np.testing.assert_allclose(net.predict(data()), outputs(module, data()), rtol=1e-5, atol=1e-6)


class Dropped(nn.Module):
    def forward(self, weight):
        return nn.functional.dropout(weight, 0.5, training=self.training)


@pytest.mark.parametrize("training", [False, True])
def test_parametrizations_compute_as_in_eval(training):
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4))
    module = nn.Sequential(layer, nn.Tanh(), nn.Linear(4, 3))
    nn.utils.parametrize.register_parametrization(module[2], "weight", Dropped())
    module.train(training)
    state = {name: values.clone() for name, values in module.state_dict().items()}
    net = fn.from_torch(module)
    assert all(part.training == training for part in module.modules())
    assert all(torch.equal(values, state[name]) for name, values in module.state_dict().items())
    np.testing.assert_allclose(net.predict(data()), outputs(module.eval(), data()), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_module_is_what_was_compiled():
    module = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    net = fn.from_torch(torch.compile(module))
    np.testing.assert_array_equal(net.parameters, fn.from_torch(module).parameters)
    with pytest.raises(ValueError, match="has the forward hook"):
        fn.from_torch(hooked(torch.compile(module)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("name", [*MODULES, "exp"])
def test_what_goes_out_is_scriptable(name):
    net = fn.Network([5, 4, 3], "tanh" if name == "softmax" else name, output=name, seed=0)
    scripted = torch.jit.script(net.to_torch())
    X = data() / 10  # exp of exp
    np.testing.assert_allclose(outputs(scripted, X), net.predict(X), rtol=1e-5, atol=1e-5)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 2))

    def forward(self, x):
        return self.net(x)


def nan_weights():
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, float("nan"))
    return module


def double(module, inputs, output):
    return 2 * output


def hooked(module):
    module.register_forward_hook(double)
    return module


def pre_hooked(module):
    module.register_forward_pre_hook(lambda module, inputs: 2 * inputs[0])
    return module


def patched(module):
    module.forward = lambda x: x
    return module


class Called(nn.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


def tied():
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    return [first, nn.Tanh(), last]


SHARED = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([nn.Linear(3, 2), nn.BatchNorm1d(2)], r"layer 1, BatchNorm1d.*not supported"),
        (
            [nn.Linear(3, 2), nn.Sequential(nn.Tanh(), nn.Conv1d(1, 1, 1))],
            r"layer 1\.1, Conv1d.*not supported",
        ),
        ([nn.Linear(3, 2), nn.ELU(0.5)], r"ELU\(alpha=0\.5\).*elu is ELU\(alpha=1\.0\)"),
        ([nn.Linear(3, 2), nn.LeakyReLU(0.2)], r"leaky_relu is LeakyReLU\(negative_slope=0\.01\)"),
        ([nn.Linear(3, 2), nn.GELU("tanh")], r"gelu is GELU\(approximate='none'\)"),
        ([nn.Linear(3, 2), nn.Softplus(beta=2)], "Softplus.*not supported"),
        ([nn.Linear(3, 2), nn.Softplus(threshold=5)], "Softplus.*not supported"),
        ([nn.Linear(3, 2), nn.Softmax(0)], "Softmax.*not supported"),
        ([nn.Linear(3, 2), nn.Softmax(1), nn.Linear(2, 2)], '"softmax" is for the output alone'),
        ([nn.Linear(3, 2), nn.Flatten(0)], "Flatten.*not supported"),
        ([nn.Linear(3, 2), nn.Tanh(), nn.ReLU()], "layer 2, ReLU.*follows another activation, tanh"),
        ([nn.Linear(3, 2), nn.Linear(3, 2)], "takes 3 inputs, but what comes before it has 2 outputs"),
        ([nn.Tanh(), nn.Linear(3, 2)], "layer 0, Tanh.*before the first dense layer"),
        ([nn.Dropout(0.1), nn.Linear(3, 2)], "layer 0, Dropout.*drops inputs"),
        ([nn.Linear(3, 2), nn.Dropout(0.1)], "drops outputs"),
        ([nn.Linear(3, 3), nn.Dropout(0.1), nn.Tanh(), nn.Linear(3, 2)], "follows a dropout"),
        ([nn.Linear(3, 3), nn.Dropout(0.1), nn.Dropout(0.1), nn.Linear(3, 2)], "follows another dropout"),
        ([Doubled(3, 2)], "Doubled.*not supported"),
        ([Policy()], r"Policy.*not supported.*torch\.onnx\.export"),
        ([nn.LazyLinear(3)], "no weights yet"),
        ([nn.Linear(3, 2).half()], "torch.float16.*float32 and float64"),
        ([nn.Linear(3, 2, device="meta")], r"Linear\(in_features=3.*meta device"),
        ([nn.Linear(3, 3), nn.Linear(3, 2).double()], "expected float32, received float64"),
        ([SHARED, nn.Tanh(), SHARED], "layer 2, Linear.*shares parameters"),
        (tied(), "layer 2, Linear.*shares parameters"),
        ([hooked(nn.Linear(3, 2))], "layer 0, Linear.*has the forward hook <function double"),
        ([nn.Linear(3, 2), pre_hooked(nn.Tanh())], r"layer 1, Tanh\(\) has the forward hook"),
        (
            [nn.Linear(3, 2), hooked(nn.Sequential(nn.Tanh()))],
            r"layer 1, Sequential\(\) has the forward hook",
        ),
        ([patched(nn.Linear(3, 2))], "layer 0, Linear.*a forward of its own"),
        ([patched(nn.Sequential(nn.Linear(3, 2)))], r"layer 0, Sequential\(\) has a forward of its own"),
        ([Called(3, 2)], "layer 0, Called.* has a __call__ of its own"),
        ([nan_weights()], "not finite"),
        ([nn.Linear(3, 2), nn.Dropout(1.0), nn.Linear(2, 1)], r"dropout must lie in \[0, 1\)"),
        ([], "no dense layer"),
    ],
)
def test_refusals(parts, message):
    with pytest.raises(ValueError, match=message):
        fn.from_torch(nn.Sequential(*parts))


def test_hooks_of_the_whole():
    with pytest.raises(ValueError, match=r"^Sequential\(\) has the forward hook"):
        fn.from_torch(hooked(nn.Sequential(nn.Linear(3, 2))))


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, not int"):
        fn.from_torch(3)


def test_scaling_that_float32_weights_cannot_hold():
    X = data() * 1e-42
    net = fn.Network([5, 3])
    net.standardize(X)
    with pytest.raises(ValueError, match=r"scaling of the inputs.*weights that float32 cannot hold"):
        net.to_torch()
    wide = fn.Network([5, 3], dtype="float64")
    wide.standardize(X)
    assert torch.isfinite(wide.to_torch()[0].weight).all()
