"""What a NIR neuron does in a step, under a convention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import UserError, require
from .convention import Convention
from .records import Record

LEAKY = ("LI", "LIF")
CURRENT = ("CubaLI", "CubaLIF")
SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
SILENT = ("I", "LI", "CubaLI")
NEURONS = (*SPIKING, *SILENT)
FIELDS = {
    "I": ("r",),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold"),
    "Threshold": ("threshold",),
}
ONE = 1e-5  # a gain so near to 1 is 1: it was stored with 32 bits


@dataclass(frozen=True)
class Rule:
    """A step of neurons: float64 `[1]` for all, or `[neurons]`.

    With a synaptic current (`current_decay`): `i = current_decay i + current_gain I`, and `x = i`; else `x = I`. Then
    `u = leak + decay (v - leak) + gain x`, a spike where `u` is above `threshold` (or equals it: `equal`), and after
    a spike `v = reset_value` (`value`) or `v = u - reset_amount` (`subtract`); nothing (`none`).

    threshold
        None of neurons that do not spike.
    start
        Where a membrane begins.
    late
        Whether what the neurons put out leaves a step later.
    held
        Whether a membrane stays as a spike has left it in the next step: it takes no sum and does not spike.
    several
        Whether the framework gives several spikes in a step where the threshold fits several times into `u`.
    """

    decay: np.ndarray
    gain: np.ndarray
    leak: np.ndarray
    threshold: np.ndarray | None
    equal: bool
    reset: str
    reset_value: np.ndarray
    reset_amount: np.ndarray
    start: np.ndarray
    current_decay: np.ndarray | None = None
    current_gain: np.ndarray | None = None
    late: bool = False
    held: bool = False
    several: bool = False

    @property
    def spiking(self) -> bool:
        return self.threshold is not None


def values(where: str, record: Record, field: str, shape: tuple[int, ...], default: float | None = None) -> np.ndarray:
    """The parameter `field` of a node of `shape`: float64, one for all or one a neuron.

    Parameters are given for all, for each channel, or for each neuron; leading axes of 1 are ignored.
    """
    given = record.fields.get(field)
    if given is None and default is not None:
        return np.array([default])
    neurons, channels = int(np.prod(shape)), shape[0]
    if given is None:
        raise UserError.of(f"{where} {field}", "missing", "a number, or one for each neuron")
    array = np.asarray(given)
    accepted = "numbers, one for all, for each channel or for each neuron"
    require(array.dtype.kind in "biuf", f"{where} {field}", str(given)[:40], accepted)
    require(not np.isnan(array).any(), f"{where} {field}", "NaN", "numbers")
    flat = array.astype(np.float64).reshape(-1)
    if flat.size == channels != neurons:
        flat = np.repeat(flat, neurons // channels)
    require(flat.size in (1, neurons), f"{where} {field} size", flat.size, f"1 or {neurons}, the neurons of {shape}")
    return flat[:1] if flat.size > 1 and bool((flat == flat[0]).all()) else flat


def rule(where: str, record: Record, shape: tuple[int, ...], convention: Convention) -> Rule:
    """The rule of a neuron node; `UserError` names the node, as `where`, and the field that cannot be taken.

    A field `convention` of the node, which files do not have, is a dict of what is otherwise for it alone.
    """
    kind = record.type
    convention = replace(convention, **record.fields.get("convention", {}))
    given = {name: values(where, record, name, shape) for name in FIELDS[kind]}
    for name, array in given.items():
        if name not in ("tau", "tau_mem", "tau_syn", "r"):
            require(bool(np.isfinite(array).all()), f"{where} {name}", "infinite", "finite numbers")
    zero = np.zeros(1)
    if kind == "Threshold":
        return Rule(zero, np.ones(1), zero, given["threshold"], convention.compare == "ge", "none", zero, zero, zero)
    leak = given.get("v_leak", zero)
    tau = given.get("tau", given.get("tau_mem"))
    decay = np.ones(1) if tau is None else _decay(where, "tau" if "tau" in given else "tau_mem", tau, convention)
    current_decay = current_gain = None
    if kind in CURRENT:
        tau_syn = given["tau_syn"]
        current_decay = _decay(where, "tau_syn", tau_syn, convention)
        w_in = values(where, record, "w_in", shape, 1.0)
        current_gain = _checked_gain(where, "w_in", _synapse(w_in, tau_syn, current_decay, convention))
    made = Rule(
        decay=decay,
        gain=_checked_gain(where, "r", _gain(kind, given["r"], tau, decay, convention)),
        leak=leak,
        threshold=None,
        equal=convention.compare == "ge",
        reset="none",
        reset_value=zero,
        reset_amount=zero,
        start=leak,
        current_decay=current_decay,
        current_gain=current_gain,
    )
    return made if kind in SILENT else _spiking(where, record, shape, convention, made, given["v_threshold"])


def thresholded(where: str, membrane: Rule, record: Record, shape: tuple[int, ...]) -> Rule:
    """A leaky integrator and the Threshold behind it, as neurons that spike and are never reset."""
    return replace(membrane, threshold=rule(where, record, shape, Convention()).threshold)


def _spiking(
    where: str, record: Record, shape: tuple[int, ...], convention: Convention, made: Rule, threshold: np.ndarray
) -> Rule:
    kind, zero = record.type, np.zeros(1)
    reset_value = values(where, record, "v_reset", shape, 0.0)
    require(bool(np.isfinite(reset_value).all()), f"{where} v_reset", "infinite", "finite numbers")
    several = convention.spikes == "multi"
    start = made.leak if kind != "IF" else reset_value
    if convention.reset in ("value", "value-held"):
        require(not several, f"{where} reset", convention.reset, "subtract, with several spikes in a step")
        return replace(
            made, threshold=threshold, reset="value", reset_value=reset_value, start=start, late=convention.late,
            held=convention.reset == "value-held",
        )  # fmt: skip
    if convention.reset == "none":
        require(not several, f"{where} reset", "none", "subtract, with several spikes in a step")
        return replace(made, threshold=threshold, start=start, late=convention.late)
    at = f"{where} v_reset"
    require(not reset_value.any(), at, _shown(reset_value), f"0 with the reset {convention.reset}, or --reset value")
    delayed = convention.reset == "subtract-delayed" and not (convention.late and kind == "CubaLIF")
    amount = threshold
    if delayed:
        accepted = "above 0: what is subtracted a step later has decayed; or --reset subtract"
        require(bool((made.decay > 0).all()), f"{where} decay", 0, accepted)
        amount = threshold / made.decay
    return replace(
        made, threshold=threshold, reset="subtract", reset_value=zero, reset_amount=amount, start=start,
        late=convention.late, several=several,
    )  # fmt: skip


def _decay(where: str, field: str, tau: np.ndarray, convention: Convention) -> np.ndarray:
    """What a state keeps of itself in a step."""
    require(bool((tau > 0).all()), f"{where} {field}", _shown(tau), "above 0")
    ratio = convention.dt / tau
    if convention.integrator == "exponential":
        return np.exp(-ratio)
    decay = 1 - ratio
    decay = np.where(np.abs(decay) < ONE, 0.0, decay)
    accepted = (
        f"at least the step dt, {convention.dt:g}: give the --dt that was trained with, or --integrator exponential"
    )
    require(bool((decay >= 0).all()), f"{where} {field}", _shown(tau), accepted)
    return decay


def _gain(kind: str, r: np.ndarray, tau: np.ndarray | None, decay: np.ndarray, convention: Convention) -> np.ndarray:
    if convention.gain == "one":
        return np.ones(1)
    if tau is None:
        return r if convention.gain == "resistance" else r * convention.dt
    if convention.gain == "undecayed":
        gain = r * convention.dt / tau
        return gain if kind == "LI" else gain / decay
    with np.errstate(invalid="ignore"):
        gain = r * (1 - decay if convention.integrator == "exponential" else convention.dt / tau)
    return np.where(np.isinf(r) & np.isinf(tau), 1.0, gain)


def _synapse(w_in: np.ndarray, tau: np.ndarray, decay: np.ndarray, convention: Convention) -> np.ndarray:
    if convention.synapse == "jump":
        return w_in
    if convention.synapse == "decayed":
        return w_in * decay
    with np.errstate(invalid="ignore"):
        gain = w_in * (1 - decay if convention.integrator == "exponential" else convention.dt / tau)
    return np.where(np.isinf(w_in) & np.isinf(tau), 1.0, gain)


def _checked_gain(where: str, field: str, gain: np.ndarray) -> np.ndarray:
    ok = bool((np.isfinite(gain) & (gain > 0)).all())
    require(
        ok,
        f"{where} {field}",
        f"a gain of {_shown(gain)}",
        "finite and above 0: what is summed must reach the membrane",
    )
    return np.where(np.abs(gain - 1) <= ONE, 1.0, gain)


def _shown(array: np.ndarray) -> Any:
    return f"{float(array.reshape(-1)[0]):g}" if array.size == 1 else f"{array.min():g} to {array.max():g}"
