"""Spoken digits: the network, its trainings, and where their recordings are. No torch.

`gradrtl listen` makes the recordings, of the Free Spoken Digit Dataset (docs/sound.md).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path

from .config import SURROGATES, TrainConfig
from .description import DenseSpec
from .graph import ConnectionSpec, CurrentSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, ReadoutSpec

FOLDER = Path("build/spoken")  # `all.npz`, and a file named after each speaker, who is the test set there
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
BANDS, STEPS, COUNT_BITS = 32, 48, 4  # those of the front end
WORDS = 10


DELAYS = (0, 3)  # steps


def network(
    neurons: int, delays: tuple[int, ...] = DELAYS, loops: tuple[int, ...] = (), normalised: bool = True
) -> Graph:
    """Two populations of neurons with synaptic currents, and leaky outputs.

    The first hears the front end and the second the first, each now and some steps ago: once for each of `delays`. With
    `loops` each hears itself, too, so many steps later. Sums are `normalised`, or have a bias, which loops need.
    """
    neuron = NeuronSpec(decay=0.9, reset="soft", current=CurrentSpec(0.5), learnt="neuron")
    populations = []
    for name, source in (("first", "sound"), ("second", "first")):
        hears = [ConnectionSpec((source,), DenseSpec(neurons), delay=delay) for delay in delays]
        hears += [ConnectionSpec((name,), DenseSpec(neurons), delay=delay) for delay in loops]
        populations.append(PopulationSpec(name, tuple(hears), neuron, bias=not normalised, batch_norm=normalised))
    words = (ConnectionSpec(("second",), DenseSpec(WORDS)),)
    outputs = NeuronSpec(decay=0.95, reset="none", spiking=False, learnt="population")
    return Graph(
        f"spoken-{neurons}",
        (InputSpec("sound", (2, 1, BANDS), held=False, counts=COUNT_BITS),),
        (*populations, PopulationSpec("words", words, outputs)),
        ReadoutSpec("words", "sum"),
        STEPS,
    )


def data_of(name: str) -> Path:
    """The recordings of a training, one of `TRAININGS` or `COMPARED`."""
    speaker = name.rpartition("-")[2]
    return FOLDER / f"{speaker if speaker in SPEAKERS else 'all'}.npz"


_TRAINING = TrainConfig(
    network=network(256),
    connectivity=0.1,
    epochs=5,
    dense=0.25,
    rewire=0.75,
    constant=0.25,
    batch=64,
    lr=3e-3,
    clip=1.0,
    sharpness=0.5,
    spike_cost=0.1,
    precision="bfloat16",
    shift=0.07,  # two bands up or down
    lag=4,
    stretch=0.2,
    drop=0.1,
    held_out=300,
)
# Of the data set's own split, and of five speakers each, of whom fewer recordings are held out and who are tested by
# the sixth; those are shorter.
_HEARD = replace(_TRAINING, slope=10.0)  # as recorded; the surrogate, atan, does not use it
TRAININGS = {
    "spoken-10": replace(_HEARD, epochs=18),
    **{f"spoken-10-{speaker}": replace(_HEARD, held_out=250) for speaker in SPEAKERS},
}
# Comparisons on half of the recordings: surrogates, and slopes of one; and what delays and loops contribute to networks
# of as many synapses.
_SHORT = replace(_TRAINING, network=network(128), images=6000)
_SYNAPSES = 5000
_HEARS = {
    "now": network(128, (0,), normalised=False),
    "delays": network(128, normalised=False),
    "loops": network(128, (0,), (1,), normalised=False),
    "delays-loops": network(128, DELAYS, (1,), normalised=False),
}
COMPARED = {
    **{f"spoken-surrogate-{kind}": replace(_SHORT, surrogate=kind) for kind in SURROGATES},
    **{f"spoken-slope-{slope}": replace(_SHORT, surrogate="fast-sigmoid", slope=slope) for slope in (1, 10)},
    **{
        f"spoken-hears-{what}": replace(
            _SHORT,
            network=graph,
            connectivity=_SYNAPSES / sum(map(prod, graph.weight_shapes.values())),
            epochs=12,
            sharpness=3.0,  # without it, loops learn slowly
        )
        for what, graph in _HEARS.items()
    },
}
