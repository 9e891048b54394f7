"""Notes on results that are correct but hardly useful: each is a line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import require
from ..quantize.network import Connection, QuantizedNetwork
from ..sim.operations import titles

ONE_CLASS = 0.95  # a network that answers one class for at least this fraction of the images gets a note
FEWEST_IMAGES = 20  # with fewer, there is no such note


def require_labels(network: QuantizedNetwork, labels: np.ndarray | None) -> None:
    """`UserError` if a label is none of the network's classes: there would be no accuracy. `labels` may be None."""
    if labels is None:
        return
    largest = int(labels.max(initial=0))
    accepted = f"less than {network.classes}, the classes of the network; take the data set it was trained on"
    require(largest < network.classes, "largest label", largest, accepted)


def on_events(network: QuantizedNetwork, events: Sequence[float]) -> list[str]:
    """A note on the first connection that no event reaches; `events`: per frame, by connection (of a chain: layer)."""
    for edge, title, arriving in zip(network.edges, titles(network), events, strict=True):
        if not arriving:
            what = "layer" if network.is_chain else "population"
            return [f"no event reaches {what} {title}: {_why(network, edge.connection, what)}"]
    return []


def _why(network: QuantizedNetwork, connection: Connection, what: str) -> str:
    source, delay = connection.sources[0], connection.delay
    if delay and network.stream:
        return f"{source} has gone silent, or the stream is not longer than the delay of {delay}"
    if delay >= network.steps:
        return f"the delay of {delay} is not below the steps of a frame, {network.steps}"
    inputs = {given.name: given.kind for given in network.inputs}
    if source in inputs:
        return "all pixels are 0" if inputs[source] == "static" else f"input {source} has no events"
    return f"{what} {source} has gone silent"


def on_rates(network: QuantizedNetwork) -> list[str]:
    """The same from the event rates in the network file, if it has any."""
    return on_events(network, [float(rates.sum()) for rates in network.rates or ()]) if network.rates else []


def on_answers(classes: np.ndarray, sums: np.ndarray | None, labels: np.ndarray | None = None) -> list[str]:
    """Notes on answers, int64 `[n]`, that are nearly all equal although the labels are not, and on `sums` that are all
    0; None: not known.
    """
    if len(classes) and sums is not None and not sums.any():
        return [f"the output layer has gone silent: all sums of {len(classes)} images are 0"]
    if len(classes) < FEWEST_IMAGES:
        return []
    most = int(np.bincount(classes).argmax())
    fraction = float((classes == most).mean())
    expected = 0.0 if labels is None else float((labels == most).mean())
    if fraction < ONE_CLASS or expected >= ONE_CLASS:
        return []
    told = "" if labels is None else f", the label of {100 * expected:.1f} %"
    return [f"the network answers class {most} for {100 * fraction:.1f} % of {len(classes)} images{told}"]


def on_energy(energy: float, dense: float) -> list[str]:
    """A note on an energy estimate, in nanojoules per frame, above that of the dense network."""
    if energy <= dense:
        return []
    return [f"the energy estimate is {energy / dense:.1f} times the dense network's: too many events or time steps"]
