"""The same network in other simulators, in float32, as in their tutorials.

Each function takes a dense network of the paper's kind and gives a function from float32 images `[n, sources]` to
rates or counts `[n, classes]`. Weights are the integers of the network; `(I - v) / 2` is folded as each library needs
it. The libraries are in the optional dependency group `bench`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gradrtl.errors import require
from gradrtl.quantize.network import Dense, Layer, QuantizedNetwork

Classifier = Callable[[torch.Tensor], torch.Tensor]
BATCH = 256


def batched(classify: Classifier, images: torch.Tensor) -> torch.Tensor:
    """`classify` in batches of `BATCH`, without gradients."""
    with torch.no_grad():
        return torch.cat([classify(batch) for batch in images.split(BATCH)])


def check(network: QuantizedNetwork) -> None:
    """Refuse all neurons but those of the compared programs: decaying input, tau = 2, hard reset to 0."""
    for layer in network.layers:
        neuron = layer.neuron
        fits = isinstance(layer.synapses, Dense) and neuron.leak == "decaying_input" and neuron.shift == 1
        fits &= neuron.reset == "hard" and not neuron.reset_value.any() and neuron.fraction == 0
        require(fits, f"layer {layer.name}", neuron.leak, "dense, decaying input, tau = 2, hard reset to 0")


def _linear(layer: Layer, gain: float) -> nn.Linear:
    weight = torch.from_numpy(layer.synapses.weight.astype("float32")) * gain
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(layer.synapses.bias.any()))
    linear.weight = nn.Parameter(weight)
    if linear.bias is not None:
        linear.bias = nn.Parameter(torch.from_numpy(layer.synapses.bias.astype("float32")) * gain)
    return linear


def _thresholds(network: QuantizedNetwork) -> list[torch.Tensor]:
    return [torch.from_numpy(layer.per_neuron(layer.neuron.threshold).astype("float32")) for layer in network.layers]


def snntorch(network: QuantizedNetwork, hoisted: bool = False) -> Classifier:
    """The loop over time of snnTorch's tutorials; `hoisted`: the first layer's sums are computed before it."""
    import snntorch as snn

    check(network)
    first, second = (_linear(layer, 0.5) for layer in network.layers)
    neurons = [snn.Leaky(beta=0.5, threshold=threshold, reset_mechanism="zero") for threshold in _thresholds(network)]

    def classify(images: torch.Tensor) -> torch.Tensor:
        membranes = [neuron.init_leaky() for neuron in neurons]
        spikes = []
        current = first(images) if hoisted else None
        for _ in range(network.steps):
            spike, membranes[0] = neurons[0](first(images) if current is None else current, membranes[0])
            spike, membranes[1] = neurons[1](second(spike), membranes[1])
            spikes.append(spike)
        return torch.stack(spikes).sum(0)

    return classify


def spikingjelly(network: QuantizedNetwork) -> Classifier:
    """SpikingJelly's multi-step mode on its torch back end; thresholds are folded into the weights."""
    from spikingjelly.activation_based import functional, layer, neuron

    check(network)
    modules: list[nn.Module] = []
    for given, threshold in zip(network.layers, _thresholds(network), strict=True):
        linear = _linear(given, 1.0)
        outputs, inputs = linear.weight.shape
        scaled = layer.Linear(inputs, outputs, bias=linear.bias is not None)
        scaled.weight = nn.Parameter(linear.weight / threshold[:, None])
        if linear.bias is not None:
            scaled.bias = nn.Parameter(linear.bias / threshold)
        modules += [scaled, neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=1.0, v_reset=0.0)]
    stack = nn.Sequential(*modules)
    functional.set_step_mode(stack, "m")
    stack.eval()

    def classify(images: torch.Tensor) -> torch.Tensor:
        functional.reset_net(stack)
        return stack(images.repeat(network.steps, 1, 1)).sum(0)

    return classify
