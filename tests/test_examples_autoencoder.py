"""The hybrid auto-encoder, on a toy data set, and the committed one on a few images."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.model.data import Dataset, load
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim import engine
from gradrtl.sim.driving import RtlOutcome
from gradrtl.sim.outcome import Trace
from gradrtl.sim.timing.predict import Cycles

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "networks/autoencoder"


@pytest.fixture(scope="module")
def programme() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        yield importlib.import_module("autoencoder")


def bars(count: int, seed: int) -> Dataset:
    """Images of 6 x 6 with a bright row and a bright column."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 1, 6, 6), np.uint8)
    rows, columns = rng.integers(0, 6, (2, count))
    images[np.arange(count), 0, rows] = 200
    images[np.arange(count), 0, :, columns] = 200
    return Dataset(images, (rows % 3).astype(np.uint8))


@pytest.fixture
def toy(programme: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The programme in an empty folder with small data sets."""
    monkeypatch.setattr(programme, "load", lambda _: (bars(2200, 0), bars(30, 1)))
    monkeypatch.chdir(tmp_path)
    return programme


def call(programme: ModuleType, *words: str) -> str:
    done = CliRunner().invoke(programme.main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_toy_is_trained_compared_and_shown(toy: ModuleType) -> None:
    small = ("--width", "16", "--code", "6", "--steps", "4", "--hidden", "12", "--connectivity", "0.5")
    call(toy, "train", *small, "--epochs", "25", "--tune", "2", "--out", "made")
    network = QuantizedNetwork.load("made/encoder.npz")
    decoder = toy.Decoder.load(Path("made/decoder.npz"))
    assert network.connectivity <= 0.5
    assert {layer.weight_bits for layer in network.layers} == {4}
    assert network.rates is not None
    pixels = toy.decoded(network, decoder, bars(30, 1))
    mean = toy.components(bars(2200, 0), 0)(bars(30, 1).frames)
    assert toy.squared(pixels, bars(30, 1)) < 0.8 * toy.squared(mean, bars(30, 1))
    assert network.notes["autoencoder"]["error"] == pytest.approx(
        toy.squared(toy.decoded(network, decoder, bars(2200, 0)[1980:]), bars(2200, 0)[1980:]), rel=1e-5
    )

    *_, plain, spiking = call(toy, "compare", "--from", "made", "--test").splitlines()
    assert spiking.endswith(f"| {toy.squared(pixels, bars(30, 1)):.5f} |")
    assert plain.startswith("| float auto-encoder, dense, a code of 6 real numbers | 0.")

    told = call(toy, "show", "--from", "made", "--images", "20", "--picture", "made/picture.png")
    assert "equal: 20 frames" in told
    assert "code: 0 of 480 spikes differ, 0 counts; decoded: 0 of 720 pixels" in told
    assert Path("made/picture.png").read_bytes().startswith(b"\x89PNG")


def as_rtl(outcome: engine.Outcome, **changes: object) -> RtlOutcome:
    times = np.zeros(len(outcome.counts), np.int64)
    found = RtlOutcome(
        outcome.decided, outcome.counts, outcome.trace, cycles=Cycles(times, times, times), flagged=times > 0
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def test_one_spike_or_count_that_differs_is_told(programme: ModuleType) -> None:
    network = QuantizedNetwork.load(FOLDER / "encoder.npz")
    decoder = programme.Decoder.load(FOLDER / "decoder.npz")
    made = engine.run(network, load(ROOT / "data/mnist")[1][:3].frames, trace=True)
    assert made.trace is not None
    assert programme.agree(as_rtl(made), made, decoder)[0]
    spikes = made.trace.spikes[-1].copy()
    spikes[2, 1] = spikes[2, 1, ::-1]  # as many spikes, of other neurons
    moved = as_rtl(made, trace=Trace((made.trace.spikes[0], spikes), made.trace.membranes))
    assert not programme.agree(moved, made, decoder)[0]
    counts = made.counts.copy()
    counts[1, 4] += 1
    same, told = programme.agree(as_rtl(made, counts=counts), made, decoder)
    assert not same
    assert "2 counts" in told  # beside those of its own trace, and beside the simulator's


def test_the_committed_one_is_as_stated(programme: ModuleType) -> None:
    network = QuantizedNetwork.load(FOLDER / "encoder.npz")
    decoder = programme.Decoder.load(FOLDER / "decoder.npz")
    _, test = load(ROOT / "data/mnist")
    page = (ROOT / "docs/autoencoder.md").read_text()
    assert f"| {programme.squared(programme.decoded(network, decoder, test), test):.5f} |" in page
    assert f"{network.connected:,} synapses" in page
    assert network.digest[:16] in page
    assert network.notes["command"] in page


@pytest.mark.parametrize(
    ("header", "changes", "told"),
    [
        ({"steps": 0}, {}, "steps is 0"),
        ({"steps": 4, "more": 1}, {}, "more"),
        ({"steps": 4}, {"bias1": np.zeros(3, np.float32)}, "decoder shapes"),
        ({"steps": 4}, {"weight0": np.zeros((2, 2), np.float64)}, "decoder arrays"),
    ],
)
def test_other_files_are_refused(
    programme: ModuleType, tmp_path: Path, header: dict, changes: dict[str, np.ndarray], told: str
) -> None:
    arrays = {"weight0": (2, 2), "bias0": (2,), "weight1": (5, 2), "bias1": (5,)}
    plain = {name: np.zeros(shape, np.float32) for name, shape in arrays.items()}
    archive.save(tmp_path / "decoder.npz", "decoder", header, plain | changes)
    with pytest.raises(UserError, match=told):
        programme.Decoder.load(tmp_path / "decoder.npz")
