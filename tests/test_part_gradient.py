"""The core's training step in two: gradients of parts of a batch, and the update by their sum."""

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(20, 5)), RNG.normal(size=(20, 2)), RNG.uniform(size=20)


def network(**options):
    return fn.Network([5, 7, 6, 2], "tanh", dtype="float64", seed=0, **options)


def parts(net, weight, *cuts, **options):
    """Return the sum of the gradients of consecutive parts, each with its share of the weight."""
    total = 0.0
    for rows in np.split(np.arange(20), cuts):
        share = len(rows) / 20 if weight is None else weight[rows].sum() / weight.sum()
        net._core.part_gradient(X, Y, rows, weight, share=share, first_row=rows[0], **options)
        total = total + net.gradient
    return total


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_parts_add_up_to_the_gradient_of_the_batch(weight):
    net = network(l2=0.3)
    _, expected = net.loss_and_gradient(X, Y, weight)
    np.testing.assert_allclose(parts(net, weight, 3, 4, 15), expected, rtol=1e-12, atol=1e-15)


def test_dropout_goes_by_the_place_in_the_batch():
    net = network(dropout=0.5)
    rest = np.arange(20)
    net._core.part_gradient(X, Y, rest)
    whole, total = net.gradient.copy(), 0.0
    for rows in np.split(rest, [6]):
        net._core.dropout_step = 0
        net._core.part_gradient(X, Y, rows, share=len(rows) / 20, first_row=rows[0])
        total = total + net.gradient
    np.testing.assert_allclose(total, whole, rtol=1e-12, atol=1e-15)
    net._core.dropout_step = 0
    net._core.part_gradient(X, Y, rest, first_row=1)
    assert not np.allclose(net.gradient, whole)


@pytest.mark.parametrize("optimizer", [fn.SGD(0.1), fn.SGD(0.1, momentum=0.9, clip_norm=0.1), fn.Adam()])
def test_an_update_by_the_whole_gradient_is_a_training_step(optimizer):
    net, other = network(), network()
    for _ in range(3):
        loss = net._core.part_gradient(X, Y, np.arange(20))
        net._core.update(optimizer._core)
        assert loss == other.train_step(X, Y, optimizer)
        np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-14, atol=1e-15)
        other.copy_from(net)  # a step that stores no gradient may round their last bits otherwise


@pytest.mark.parametrize("optimizer", [fn.SGD(0.1, momentum=0.9), fn.AdamW(weight_decay=0.1), fn.RMSprop()])
@pytest.mark.parametrize("rows", [30, 40])  # by layers; by rows of W
def test_a_large_network_takes_the_same_step_with_its_gradient_as_after_it(optimizer, rows):
    def large():
        net = fn.Network([300, 1100, 300, 3], "tanh", dtype="float64", seed=0, l2=0.1)
        net.layers[1].trainable = False
        return net

    X, Y = RNG.normal(size=(rows, 300)), RNG.normal(size=(rows, 3))
    net, other = large(), large()
    for _ in range(3):
        loss = net._core.part_gradient(X, Y, np.arange(rows))
        net._core.update(optimizer._core)
        assert loss == other.train_step(X, Y, optimizer)
    np.testing.assert_array_equal(net.parameters, other.parameters)


# In the second case the core lets go of the GIL and takes the batch by blocks: what is below grows with each.
@pytest.mark.parametrize("repeats", [1, 500])
def test_a_layer_is_announced_once_its_gradient_is_there(repeats):
    net, order, seen = network(), np.tile(np.arange(20), repeats), []
    net.layers[1].trainable = False
    whole = net.copy()
    whole.loss_and_gradient(X, Y)
    net.gradient[:] = np.nan

    def after_layer(index):
        for name in ("weights_gradient", "bias_gradient"):
            expected = getattr(whole.layers[index], name)
            np.testing.assert_allclose(getattr(net.layers[index], name), expected, rtol=1e-10, atol=1e-15)
        assert repeats > 1 or all(np.isnan(below.bias_gradient).all() for below in net.layers[:index])
        seen.append(index)

    net._core.part_gradient(X, Y, order, after_layer=after_layer)
    assert seen == [2, 1, 0]
    np.testing.assert_array_equal(net.layers[1].weights_gradient, 0)


def test_what_after_layer_raises_reaches_the_caller():
    net = network()
    with pytest.raises(ZeroDivisionError):
        net._core.part_gradient(X, Y, np.arange(20), after_layer=lambda layer: 1 / 0)
    net.train_step(X, Y, fn.SGD(0.1))  # the network is not busy any more


def test_the_order_is_checked():
    net = network()
    for order in (np.array([20]), np.array([-1]), np.array([], dtype=int), np.array([[0]])):
        with pytest.raises(ValueError, match="order: expected"):
            net._core.part_gradient(X, Y, order)
