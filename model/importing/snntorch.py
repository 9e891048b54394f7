"""Modules of snnTorch as records, with what its NIR export loses: each layer's own reset, and scalars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import require
from .modules import array, linear, looped, sequence, time_constant
from .records import Record

CURRENT = ("Synaptic", "RSynaptic")
LOOPS = ("RLeaky", "RSynaptic")
NEURONS = ("Leaky", "Synaptic", *LOOPS)


def from_snntorch(model: Any, shape: Sequence[int]) -> Record:
    """A chain of torch's modules and snnTorch's neurons as records, for `import_graph` under the convention `snntorch`.

    Parameters
    ----------
    model
        `torch.nn.Sequential`, or a module whose children run one after the other: Linear, Conv1d, Conv2d, Flatten,
        AvgPool2d, batch normalisation (as it runs after training), and Leaky, Synaptic, RLeaky and RSynaptic. A last
        Leaky with `reset_mechanism="none"` and `output=True` is a read-out of membranes.
    shape
        That of one sample in one step, such as `(784,)` or `(1, 28, 28)`.

    Raises
    ------
    UserError
        Another module, graded spikes, inhibition, states that snnTorch rounds, or a state that decays upwards.
    """
    return sequence(model, shape, _neuron, "snnTorch")


def _neuron(name: str, part: Any, last: bool) -> Record | None:
    kind = type(part).__name__
    if kind not in NEURONS or not type(part).__module__.startswith("snntorch"):
        return None
    where = f"module {name}"
    graded = float(array(getattr(part, "graded_spikes_factor", 1.0)).reshape(-1)[0])
    require(graded == 1.0, f"{where} graded_spikes_factor", graded, "1")
    require(not part.inhibition, f"{where} inhibition", part.inhibition, "False")
    require(not getattr(part, "state_quant", False), f"{where} state_quant", "given", "False: states are rounded here")
    fields: dict[str, Any] = {"r": 1.0, "v_leak": 0.0, "v_reset": 0.0}
    fields["tau_mem" if kind in CURRENT else "tau"] = _tau(where, "beta", part)
    if kind in CURRENT:
        fields |= {"tau_syn": _tau(where, "alpha", part), "w_in": 1.0}
    fields["convention"] = {"dt": 1.0, "gain": "one", "synapse": "jump", **_reset(where, kind, part)}
    if last and kind == "Leaky" and part.output and part.reset_mechanism == "none":
        return Record("LI", fields)
    neurons = Record("CubaLIF" if kind in CURRENT else "LIF", {**fields, "v_threshold": array(part.threshold)})
    return _with_loop(part, neurons) if kind in LOOPS else neurons


def _tau(where: str, name: str, part: Any) -> np.ndarray:
    """The time constant, in steps, of the decay `name`, which snnTorch clamps to 0 to 1."""
    decay = np.clip(array(getattr(part, name)), 0.0, 1.0)
    require(bool((decay > 0).all()), f"{where} {name}", float(decay.min()), "above 0")
    return time_constant(decay)


def _reset(where: str, kind: str, part: Any) -> dict[str, str]:
    """The reset of a module, as a convention has it.

    Without a delay, a membrane that was above twice the threshold is above it after the subtraction, too. snnTorch then
    subtracts the threshold once more before it compares in the next step, and adds it again if there is no spike. So
    potentials must stay below twice the threshold, as where a framework gives several spikes in a step.
    """
    delayed = getattr(part, "reset_delay", True)
    if part.reset_mechanism == "subtract":
        return {"reset": "subtract-delayed"} if delayed else {"reset": "subtract", "spikes": "multi"}
    if part.reset_mechanism == "none":
        return {"reset": "none"}
    require(delayed or kind == "Leaky", f"{where} reset_delay", delayed, "True with the reset zero")
    return {"reset": "value" if kind == "Leaky" else "value-held"}


def _with_loop(part: Any, neurons: Record) -> Record:
    """`neurons` and the connection by which they hear themselves a step later."""
    loop = part.recurrent
    if not part.all_to_all:
        return looped(neurons, Record("Scale", {"scale": array(loop.V)}))
    require(type(loop).__name__ == "Linear", "recurrent", type(loop).__name__, "Linear")
    return looped(neurons, linear(array(loop.weight), loop.bias))
