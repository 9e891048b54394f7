"""Modules of Norse as records, with what its NIR export leaves out: resets, pools, convolutions without bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import require
from .modules import array, sequence
from .records import Record

RESETS = {"reset_value": "value", "reset_subtract": "subtract"}
# Cells by the primitive that they are.
CELLS = {"IAFCell": "IF", "LIFBoxCell": "LIF", "LIBoxCell": "LI", "LIFCell": "CubaLIF"}


def from_norse(model: Any, shape: Sequence[int]) -> Record:
    """A chain of torch's modules and Norse's cells as records, for `import_graph` under the convention `norse`.

    Parameters
    ----------
    model
        `norse.torch.SequentialState`, or a module whose children run one after the other: Linear, Conv1d, Conv2d,
        Flatten, AvgPool2d, batch normalisation, IAFCell, LIFBoxCell, LIFCell, and LIBoxCell as the last.
    shape
        That of one sample in one step.

    Raises
    ------
    UserError
        Another module, or a reset that is neither to a value nor by the threshold.
    """
    by_position = type(model).__name__ == "SequentialState"  # it keeps a state for each of its children
    return sequence(model, shape, _neuron, "Norse", states_apart=by_position)


def _neuron(name: str, part: Any, last: bool) -> Record | None:
    kind = CELLS.get(type(part).__name__)
    if kind is None:
        return None
    given, dt = part.p, float(part.dt)
    convention: dict[str, Any] = {"dt": 1.0, "compare": "gt", "gain": "one" if kind == "IF" else "nir"}
    fields: dict[str, Any] = {"r": 1.0, "convention": convention}
    if kind != "IF":
        fields |= {"tau_mem" if kind == "CubaLIF" else "tau": 1.0 / (dt * array(given.tau_mem_inv))}
        fields |= {"v_leak": array(given.v_leak)}
    if kind == "CubaLIF":
        fields |= {"tau_syn": 1.0 / (dt * array(given.tau_syn_inv)), "w_in": 1.0}
        convention["synapse"] = "jump"
    if kind != "LI":
        reset = getattr(given.reset_method, "__name__", "") if hasattr(given, "reset_method") else "reset_value"
        require(reset in RESETS, f"module {name} reset_method", reset, " or ".join(RESETS))
        convention["reset"] = RESETS[reset]
        fields |= {"v_threshold": array(given.v_th)}
        fields |= {"v_reset": array(given.v_reset) if RESETS[reset] == "value" else 0.0}
    return Record(kind, fields)
