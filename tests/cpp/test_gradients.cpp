// Gradients against central differences in double, for every loss, activation and option; fused updates against
// stored gradients.
#include "network_support.h"

namespace {

using namespace fusednet;
using namespace fusednet::testing;
using Net = Network<double>;

constexpr Activation hidden_activations[] = {
    Activation::identity, Activation::sigmoid, Activation::tanh, Activation::relu,     Activation::leaky_relu,
    Activation::elu,      Activation::gelu,    Activation::silu, Activation::softplus, Activation::exp};

// What a loss is used with.
Activation natural_output(Loss loss) {
    switch (loss) {
        case Loss::cross_entropy: return Activation::softmax;
        case Loss::binary_cross_entropy: return Activation::sigmoid;
        case Loss::poisson: return Activation::exp;
        default: return Activation::identity;
    }
}

// The largest difference between a gradient and the central differences, of fourth order, of a function of the values.
template <class Function>
double difference(double* values, const std::vector<double>& gradient, Function function) {
    constexpr double h = 1e-4;
    double worst = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
        const double value = values[i];
        const auto slope = [&](double step) {
            values[i] = value + step;
            const double above = function();
            values[i] = value - step;
            return (above - function()) / (2 * step);
        };
        const double expected = (4 * slope(h) - slope(2 * h)) / 3;
        values[i] = value;
        worst = std::max(worst, std::abs(expected - gradient[i]) / std::max(1.0, std::abs(expected)));
    }
    return worst;
}

void check_gradient(Net& net, const Samples& samples) {
    const double value = net.loss_and_gradient(samples);
    CHECK(value == doctest::Approx(net.loss(samples)).epsilon(1e-12));
    CHECK(difference(net.parameters().data(), copy(net.gradient()), [&] { return net.loss(samples); }) < 1e-8);
}

}  // namespace

TEST_CASE("every loss and hidden activation") {
    for (const Loss loss : {Loss::mse, Loss::half_mse, Loss::mae, Loss::huber, Loss::cross_entropy,
                            Loss::binary_cross_entropy, Loss::poisson, Loss::quantile}) {
        for (const Activation hidden : hidden_activations) {
            for (const std::size_t outputs : Sizes{1, 3}) {
                CAPTURE(static_cast<int>(loss));
                CAPTURE(static_cast<int>(hidden));
                CAPTURE(outputs);
                NetworkConfig config = network_config({3, 5, 4, outputs}, hidden, natural_output(loss), loss);
                config.loss_parameter = loss == Loss::quantile ? 0.8 : 0.7;
                config.l2 = 0.05;
                config.layers[1].bias = false;
                Net net(config);
                initialize(net, 3, hidden == Activation::exp ? 0.4 : 1);  // towers of exponentials grow steep
                const Data<double> data(7, 3, outputs, loss, 2);
                for (const bool weighted : {false, true}) {
                    check_gradient(net, data.samples(weighted, false));
                    if (loss == Loss::cross_entropy) check_gradient(net, data.samples(weighted, true));
                }
            }
        }
    }
}

TEST_CASE("every output activation under a loss of its output") {
    for (const Loss loss : {Loss::mse, Loss::half_mse, Loss::huber}) {
        for (const std::size_t outputs : Sizes{1, 4}) {
            for (int f = 0; f <= static_cast<int>(Activation::softmax); ++f) {
                CAPTURE(f);
                Net net(network_config({2, 6, outputs}, Activation::tanh, static_cast<Activation>(f), loss));
                initialize(net, 4);
                const Data<double> data(5, 2, outputs, loss);
                check_gradient(net, data.samples(true, false));
            }
        }
    }
}

TEST_CASE("a custom loss, of any width of targets") {
    // Σ (ŷ₀·t₀ − ŷ₁)² / 2
    const auto loss = [](MatrixView<const double> p, MatrixView<const double> t, MatrixView<double> g) {
        double sum = 0;
        for (std::size_t i = 0; i < p.rows; ++i) {
            const double target = t.data[i * t.ld], e = p.data[i * p.ld] * target - p.data[i * p.ld + 1];
            sum += e * e / 2;
            if (g.data == nullptr) continue;
            g.data[i * g.ld] = e * target;
            g.data[i * g.ld + 1] = -e;
        }
        return sum;
    };
    Net net(network_config({3, 4, 2}, Activation::silu, Activation::tanh, Loss::custom), loss);
    initialize(net, 5);
    const Data<double> data(6, 3, 1, Loss::custom);
    check_gradient(net, data.samples(false, false));
}

TEST_CASE("backward takes dL/dy and gives the gradient by the input") {
    for (const Activation output : {Activation::identity, Activation::sigmoid, Activation::gelu, Activation::softmax}) {
        for (const std::size_t inputs : Sizes{1, 3}) {
            for (const std::size_t rows : Sizes{1, 6}) {
                CAPTURE(static_cast<int>(output));
                CAPTURE(inputs);
                CAPTURE(rows);
                Net net(network_config({inputs, 5, 4}, Activation::tanh, output, Loss::mse));
                initialize(net, 6);
                Data<double> data(rows, inputs, 4, Loss::mse);
                std::vector<double> y(rows * 4), dx(rows * inputs);
                const auto inner_product = [&] {  // L = Σ y·c, so that dL/dy = c
                    net.forward(view(data.x, inputs), false, y.data());
                    double sum = 0;
                    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * data.y[i];
                    return sum;
                };
                inner_product();
                net.backward(view(data.y, 4), dx.data());
                const std::vector<double> gradient = copy(net.gradient());
                CHECK(difference(data.x.data(), dx, inner_product) < 1e-8);
                CHECK(difference(net.parameters().data(), gradient, inner_product) < 1e-8);
            }
        }
    }
}

TEST_CASE("dropout's gradient is that of the network with its mask") {
    Net net(network_config({3, 8, 6, 2}, Activation::gelu, Activation::identity, Loss::mse, 0.4));
    initialize(net, 7);
    Data<double> data(5, 3, 2, Loss::mse);
    std::vector<double> y(10), dx(15);
    const auto inner_product = [&] {
        net.set_dropout_step(11);  // the same mask in every call
        net.forward(view(data.x, 3), true, y.data());
        double sum = 0;
        for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * data.y[i];
        return sum;
    };
    inner_product();
    net.backward(view(data.y, 2), dx.data());
    const std::vector<double> gradient = copy(net.gradient());
    CHECK(difference(data.x.data(), dx, inner_product) < 1e-8);
    CHECK(difference(net.parameters().data(), gradient, inner_product) < 1e-8);
}

TEST_CASE("the fused update is a step along the stored gradient") {
    for (const double decay : {0.0, 0.1}) {
        for (const double l2 : {0.0, 0.3}) {
            NetworkConfig config =
                network_config({4, 9, 7, 3}, Activation::tanh, Activation::softmax, Loss::cross_entropy);
            config.l2 = l2;
            Net net(config);
            initialize(net, 8);
            Data<double> data(11, 4, 3, Loss::cross_entropy);
            Optimizer sgd = optimizer(UpdateRule::sgd, 0.2);
            sgd.weight_decay = decay;
            const double loss = net.loss_and_gradient(data.samples(true, true));
            std::vector<double> expected = copy(net.parameters());
            for (std::size_t i = 0; i < expected.size(); ++i)
                expected[i] -= 0.2 * (net.gradient().data()[i] + decay * expected[i]);
            CHECK(net.train_step(data.samples(true, true), sgd) == loss);
            for (std::size_t i = 0; i < expected.size(); ++i)
                CHECK(net.parameters().data()[i] == doctest::Approx(expected[i]).epsilon(1e-13));
        }
    }
}

TEST_CASE("scikit-learn's conventions") {
    constexpr std::size_t rows = 10, outputs = 3;
    constexpr double l2 = 0.4;
    for (const Loss loss :
         {Loss::half_mse, Loss::mse, Loss::binary_cross_entropy, Loss::cross_entropy, Loss::poisson}) {
        CAPTURE(static_cast<int>(loss));
        NetworkConfig config = network_config({4, 5, outputs}, Activation::tanh, natural_output(loss), loss);
        Net plain(config);
        config.l2 = l2;
        config.scikit_learn = true;
        Net net(config);
        initialize(plain, 4);
        initialize(net, 4);
        const Data<double> data(rows, 4, outputs, loss, 3);
        const double k = outputs;
        const bool summed = loss == Loss::binary_cross_entropy || loss == Loss::poisson;
        const double value_factor = summed ? k : loss == Loss::half_mse ? 1 / k : 1, slope_factor = summed ? k : 1;
        double squares = 0, total_weight = 0;
        for (const DenseLayer<double>& l : net.layers()) {
            for (std::size_t i = 0; i < l.in * l.out; ++i) squares += l.w[i] * l.w[i];
        }
        for (const double w : data.weight) total_weight += w;

        const Samples samples = data.samples(true, false);
        const double mean = plain.loss_and_gradient(samples);
        const double expected = value_factor * mean + 0.5 * l2 / total_weight * squares;
        CHECK(net.loss_and_gradient(samples) == doctest::Approx(expected).epsilon(1e-13));
        CHECK(net.loss(samples) == doctest::Approx(expected).epsilon(1e-13));
        std::vector<double> gradient = copy(plain.gradient());
        for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] *= slope_factor;
        for (std::size_t l = 0; l < net.layers().size(); ++l) {
            const DenseLayer<double>& layer = net.layers()[l];
            for (std::size_t i = 0; i < layer.in * layer.out; ++i) {
                gradient[net.offset(l) + i] += l2 / total_weight * layer.w[i];
            }
        }
        for (std::size_t i = 0; i < gradient.size(); ++i) {
            CHECK(net.gradient().data()[i] == doctest::Approx(gradient[i]).epsilon(1e-12));
        }

        // The fused update has the same gradient.
        std::vector<double> stepped = copy(net.parameters());
        for (std::size_t i = 0; i < stepped.size(); ++i) stepped[i] -= 0.1 * gradient[i];
        net.train_step(samples, optimizer(UpdateRule::sgd, 0.1));
        for (std::size_t i = 0; i < stepped.size(); ++i) {
            CHECK(net.parameters().data()[i] == doctest::Approx(stepped[i]).epsilon(1e-13));
        }
    }
}

TEST_CASE("scikit-learn's epoch is averaged by rows, takes negative weights and goes on where the loss is not finite") {
    NetworkConfig config = network_config({2, 3, 1}, Activation::tanh, Activation::identity, Loss::half_mse);
    config.scikit_learn = true;
    Net net(config);
    initialize(net, 2);
    Data<double> data(4, 2, 1, Loss::half_mse);
    data.weight = {1, -0.5, 2, 6};
    const Samples samples = data.samples(true, false);
    Samples first = samples, second = samples;
    first.x.rows = first.y.rows = first.weight.rows = second.x.rows = second.y.rows = second.weight.rows = 2;
    second.x.data = data.x.data() + 4;
    second.y.data = data.y.data() + 2;
    second.weight.data = data.weight.data() + 2;
    const double expected = (net.loss(first) + net.loss(second)) / 2;
    CHECK(net.train_epoch(samples, optimizer(UpdateRule::sgd, 1e-300), 2, nullptr, 4, nullptr) ==
          doctest::Approx(expected).epsilon(1e-14));

    data.y[0] = 1e200;
    CHECK(!std::isfinite(net.train_epoch(samples, optimizer(UpdateRule::sgd, 1e300), 2, nullptr, 4, nullptr)));
    CHECK(!std::isfinite(net.parameters().data()[0]));
}

TEST_CASE("Poisson regression through exp survives a prediction of zero") {
    NetworkConfig config = network_config({1, 1}, Activation::identity, Activation::exp, Loss::poisson);
    Net net(config);
    const std::vector<double> x = {1}, y = {3};
    net.parameters().data()[0] = -800;
    const double expected = 3 * std::log(3.0) - 3 + 3 * 800;
    CHECK(net.loss_and_gradient({view(x, 1), view(y, 1), {}, false}) == doctest::Approx(expected).epsilon(1e-14));
    CHECK(net.gradient().data()[0] == -3);
}

TEST_CASE("clipping scales the whole gradient to its norm") {
    Net net(network_config({4, 6, 2}, Activation::tanh, Activation::identity, Loss::mse));
    initialize(net, 9);
    const Data<double> data(8, 4, 2, Loss::mse);
    net.loss_and_gradient(data.samples(false, false));
    const std::vector<double> before = copy(net.parameters()), gradient = copy(net.gradient());
    double norm = 0;
    for (const double g : gradient) norm += g * g;
    norm = std::sqrt(norm);
    for (const double limit : {norm / 3, norm * 3}) {
        std::copy(before.begin(), before.end(), net.parameters().data());
        Optimizer sgd = optimizer(UpdateRule::sgd, 0.5);
        sgd.clip_norm = limit;
        net.train_step(data.samples(false, false), sgd);
        for (std::size_t i = 0; i < before.size(); ++i) {
            CHECK(net.parameters().data()[i] ==
                  doctest::Approx(before[i] - 0.5 * std::min(1.0, limit / norm) * gradient[i]).epsilon(1e-12));
        }
    }
}
