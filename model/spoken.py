"""Spoken digits: the network, its trainings, and where their recordings are. No torch.

`gradrtl listen` makes the recordings, of the Free Spoken Digit Dataset (docs/sound.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .config import TrainConfig
from .description import DenseSpec
from .graph import ConnectionSpec, CurrentSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, ReadoutSpec

FOLDER = Path("build/spoken")  # `all.npz`, and a file named after each speaker, who is the test set there
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
BANDS, STEPS, COUNT_BITS = 32, 48, 4  # those of the front end
WORDS = 10


def network(neurons: int, delays: tuple[int, ...] = (1,)) -> Graph:
    """Neurons with synaptic currents that hear the front end, and each other after `delays`; leaky outputs."""
    hears = [ConnectionSpec(("sound",), DenseSpec(neurons))]
    hears += [ConnectionSpec(("hidden",), DenseSpec(neurons), delay=delay) for delay in delays]
    hidden = NeuronSpec(decay=0.9, reset="soft", current=CurrentSpec(0.5), learnt="neuron")
    outputs = NeuronSpec(decay=0.95, reset="none", spiking=False, learnt="population")
    words = ConnectionSpec(("hidden",), DenseSpec(WORDS))
    return Graph(
        f"spoken-{neurons}",
        (InputSpec("sound", (2, 1, BANDS), held=False, counts=COUNT_BITS),),
        (PopulationSpec("hidden", tuple(hears), hidden, bias=True), PopulationSpec("words", (words,), outputs)),
        ReadoutSpec("words", "sum"),
        STEPS,
    )


def data_of(name: str) -> Path:
    """The recordings of the training `name`, one of `TRAININGS`."""
    speaker = name.rpartition("-")[2]
    return FOLDER / f"{speaker if speaker in SPEAKERS else 'all'}.npz"


_TRAINING = TrainConfig(
    network=network(320),
    connectivity=0.1,
    epochs=8,
    dense=0.35,
    rewire=0.75,
    constant=0.35,
    batch=64,
    lr=3e-3,
    clip=1.0,
    sharpness=3.0,
    shift=0.03,  # a band up or down
    lag=4,
    held_out=300,
)
# Of the data set's own split, and of five speakers each, of whom fewer recordings are held out and who are tested by
# the sixth; those are shorter.
TRAININGS = {
    "spoken-10": replace(_TRAINING, epochs=20),
    **{f"spoken-10-{speaker}": replace(_TRAINING, held_out=250) for speaker in SPEAKERS},
}
