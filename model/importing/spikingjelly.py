"""Modules of SpikingJelly as records, with what its NIR export refuses: soft resets, recurrent containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import require
from .modules import array, linear, looped, sequence, time_constant
from .records import Record

NEURONS = ("IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode")
CONTAINER = "LinearRecurrentContainer"


def from_spikingjelly(model: Any, shape: Sequence[int]) -> Record:
    """A chain of SpikingJelly's modules as records, for `import_graph` under the convention `spikingjelly`.

    Parameters
    ----------
    model
        `torch.nn.Sequential`, or a module whose children run one after the other: Linear, Conv1d, Conv2d, Flatten,
        AvgPool2d, batch normalisation, IFNode, LIFNode, ParametricLIFNode, CUBALIFNode, and LinearRecurrentContainer.
        The step mode has no influence.
    shape
        That of one sample in one step.

    Raises
    ------
    UserError
        Another module, or a CUBALIFNode that is reset to another value than 0.
    """
    return sequence(model, shape, _neuron, "SpikingJelly")


def _neuron(name: str, part: Any, last: bool) -> Record | None:
    kind = type(part).__name__
    if kind == CONTAINER:
        inner = _neuron(name, part.sub_module, last)
        weight = array(part.rc.weight)
        inputs = weight.shape[1] - part.sub_module_out_features
        return inner and looped(inner, linear(weight[:, inputs:]), linear(weight[:, :inputs], part.rc.bias))
    if kind not in NEURONS:
        return None
    soft = part.v_reset is None
    reset = 0.0 if soft else float(part.v_reset)
    threshold = array(part.v_threshold)
    convention = {"dt": 1.0, "compare": "ge", "reset": "subtract" if soft else "value", "gain": "one"}
    fields: dict[str, Any] = {"r": 1.0, "v_threshold": threshold, "v_reset": reset, "convention": convention}
    if kind == "IFNode":
        return Record("IF", fields)
    if kind == "CUBALIFNode":
        require(reset == 0.0, f"module {name} v_reset", reset, "0 or None")
        convention["synapse"] = "jump"
        tau_mem, tau_syn = (time_constant(array(decay)) for decay in (part.v_decay, part.c_decay))
        return Record("CubaLIF", {**fields, "tau_mem": tau_mem, "tau_syn": tau_syn, "w_in": 1.0, "v_leak": 0.0})
    tau = 1.0 / array(part.w.sigmoid()) if kind == "ParametricLIFNode" else array(part.tau)
    if part.decay_input:
        convention["gain"] = "nir"
    return Record("LIF", {**fields, "tau": tau, "v_leak": reset})
