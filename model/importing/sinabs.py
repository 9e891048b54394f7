"""Modules of Sinabs as records, with what its NIR export loses: undivided inputs, recurrent layers, average pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import UserError, require
from .modules import array, linear, looped, sequence
from .records import Record

LAYERS = {"IAF": "IF", "LIF": "LIF", "ExpLeak": "LI"}
RESETS = {"MembraneSubtract": "subtract", "MembraneReset": "value"}
SPIKES = {"SingleSpike": "single", "MultiSpike": "multi"}


def from_sinabs(model: Any, shape: Sequence[int]) -> Record:
    """A chain of Sinabs' modules as records, for `import_graph` under the convention `sinabs`.

    Parameters
    ----------
    model
        `torch.nn.Sequential`, or a module whose children run one after the other: Linear, Conv1d, Conv2d, Flatten,
        AvgPool2d, SumPool2d, batch normalisation, IAF, LIF, LIFRecurrent (through a Linear), those whose names end in
        Squeeze, and ExpLeak as the last.
    shape
        That of one sample in one step.

    Raises
    ------
    UserError
        Another module, a synaptic time constant, a lower bound on membranes, another reset, a recurrent bias.
    """
    return sequence(model, shape, _neuron, "Sinabs")


def _neuron(name: str, part: Any, last: bool) -> Record | None:
    plain = type(part).__name__.removesuffix("Squeeze")
    kind = LAYERS.get(plain.removesuffix("Recurrent"))
    if kind is None:
        return None
    where = f"module {name}"
    for field in ("tau_syn", "min_v_mem"):
        value = getattr(part, field, None)
        require(value is None, f"{where} {field}", value, "None")
    convention: dict[str, Any] = {"dt": 1.0, "integrator": "exponential", "compare": "ge", "gain": "one"}
    fields: dict[str, Any] = {"r": 1.0, "convention": convention}
    if kind != "IF":
        fields |= {"tau": array(part.tau_mem), "v_leak": 0.0}
        convention["gain"] = "nir" if part.norm_input else "one"
    if kind != "LI":
        spikes = getattr(part.spike_fn, "__name__", type(part.spike_fn).__name__)
        reset = type(part.reset_fn).__name__
        require(spikes in SPIKES, f"{where} spike_fn", spikes, " or ".join(SPIKES))
        require(reset in RESETS, f"{where} reset_fn", reset, " or ".join(RESETS))
        amount = getattr(part.reset_fn, "subtract_value", None)
        require(amount is None, f"{where} subtract_value", amount, "None: the threshold")
        value = getattr(part.reset_fn, "reset_value", 0.0)
        require(value == 0, f"{where} reset_value", value, "0")
        convention |= {"spikes": SPIKES[spikes], "reset": RESETS[reset]}
        fields |= {"v_threshold": array(part.spike_threshold), "v_reset": 0.0}
    made = Record(kind, fields)
    return looped(made, _loop(where, part.rec_connect)) if plain.endswith("Recurrent") else made


def _loop(where: str, connection: Any) -> Record:
    """The Linear of a recurrent connection; a Flatten before it changes nothing."""
    parts = [part for part in connection.modules() if not list(part.children())]
    linears = [part for part in parts if type(part).__name__ == "Linear"]
    if len(linears) != 1 or any(type(part).__name__ not in ("Linear", "Flatten") for part in parts):
        raise UserError.of(f"{where} rec_connect", type(connection).__name__, "one Linear, with a Flatten before it")
    bias = linears[0].bias
    without = bias is None or not array(bias).any()
    require(without, f"{where} rec_connect bias", "not 0", "0: Sinabs leaves it out in the first step")
    return linear(array(linears[0].weight))
