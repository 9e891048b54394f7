"""Recordings: the data set, its file, what is split off, and networks that train on them and stay what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import gradrtl

from gradrtl.archive import save as save_archive
from gradrtl.errors import UserError
from gradrtl.model import recordings
from gradrtl.model.architecture import Recorded, described
from gradrtl.model.augment import EventAugment
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.description import ConvSpec, DenseSpec
from gradrtl.model.graph import Graph, InputSpec
from gradrtl.model.networks import module_of
from gradrtl.model.recordings import Recordings, fit, load, save, split
from gradrtl.model.train import augment_for, batches, train
from gradrtl.quantize.graph_ptq import quantize_graph, weight_units
from gradrtl.quantize.graph_rounding import GraphFormats, at_units, fold_graph, reals_of
from gradrtl.quantize.images import frames_of_recordings
from gradrtl.quantize.integer_graph import IntegerGraph
from gradrtl.quantize.network import Input, QuantizedNetwork
from gradrtl.sim import engine, reference
from gradrtl.steps.frames import frames_for
from gradrtl.steps.quantise import quantise

SHAPE = (2, 4, 6)
STEPS = 10


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def made(count: int, seed: int = 0, classes: int = 4) -> Recordings:
    """Classes fire at their own time and place."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.uint8)
    counts = rng.poisson(0.1, (count, STEPS, *SHAPE))
    for one, label in enumerate(labels):
        counts[one, 2 * label : 2 * label + 3, label % 2, :, 3 * (label // 2) :][..., :3] += rng.poisson(1.5, (3, 4, 3))
    return Recordings(counts.clip(max=7).astype(np.uint8), labels, (np.arange(count) % 3).astype(np.int32), {"by": 1})


DATA = made(240)
TEST = made(40, seed=1)
CONFIG = TrainConfig(network="48-R16-4", connectivity=0.4, epochs=3, batch=20, held_out=40, lr=8e-3, shift=0.0)


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    torch.set_num_threads(1)
    return train(CONFIG, DATA)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "set.npz"
    save(path, DATA, TEST)
    return path


def test_slices_and_frames() -> None:
    part = DATA[5:9]
    assert (len(part), part.steps, part.shape, part.classes, part.bits) == (4, STEPS, SHAPE, 4, 3)
    assert np.array_equal(part.frames, DATA.counts[5:9].reshape(4, STEPS, 48))
    assert part.groups is not None
    assert part.groups.tolist() == [2, 0, 1, 2]
    assert part.made == {"by": 1}


def test_the_digest_is_that_of_counts_labels_and_groups() -> None:
    others = [
        replace(DATA, counts=DATA.counts ^ 1),
        replace(DATA, labels=DATA.labels[::-1]),
        replace(DATA, groups=None),
        replace(DATA, counts=DATA.counts.reshape(240, 5, 4, 4, 6)),
    ]
    assert len({DATA.digest, *(other.digest for other in others)}) == 5
    assert replace(DATA, made={}).digest == DATA.digest


def test_missing_steps_are_empty_and_later_ones_are_cut_off() -> None:
    longer, shorter = DATA.fitted(13), DATA.fitted(7)
    assert np.array_equal(longer.counts[:, :STEPS], DATA.counts)
    assert not longer.counts[:, STEPS:].any()
    assert np.array_equal(shorter.counts, DATA.counts[:, :7])
    assert DATA.fitted(STEPS) is DATA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": DATA.counts.astype(np.int16)}, "recordings dtype is int16, expected uint8"),
        ({"counts": DATA.counts[:, :, 0]}, "recordings dimensions is 4, expected 5: [n, steps, channels, height, wid"),
        ({"counts": DATA.counts[:, :0]}, "recordings shape is (240, 0, 2, 4, 6), expected no empty dimension"),
        ({"counts": np.zeros((1, 70_000, 1, 1, 1), np.uint8)}, "recordings steps is 70000, expected 1 to 65535"),
        ({"labels": DATA.labels[:-1]}, "labels shape is (239,), expected (240,), one for each recording"),
        ({"labels": DATA.labels.astype(float)}, "labels dtype is float64, expected uint8 or int32"),
        ({"labels": DATA.labels.astype(np.int32) - 1}, "smallest of the labels is -1, expected 0 or above"),
        ({"labels": DATA.labels.astype(np.int32) + 65_536}, "largest label is 65539, expected at most 65535"),
        ({"groups": DATA.labels}, "groups dtype is uint8, expected int32"),
        ({"groups": -DATA.labels.astype(np.int32)}, "smallest of the groups is -3, expected 0 or above"),
    ],
)
def test_what_recordings_are(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        replace(DATA, **changes)
    assert message in str(error.value)


def test_a_file_keeps_them(file: Path) -> None:
    training, test = load(file)
    assert (training.digest, test.digest, training.made) == (DATA.digest, TEST.digest, {"by": 1})
    assert recordings.is_file(file)
    assert recordings.is_kind(file)


def test_a_file_of_other_arrays_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", events=DATA.frames)
    assert not recordings.is_kind(tmp_path / "arrays.npz")
    (tmp_path / "no.npz").write_bytes(b"PK")
    assert not recordings.is_kind(tmp_path / "no.npz")


ARRAYS = {f"{part}.{what}": getattr(DATA, what) for part in ("train", "test") for what in ("counts", "labels")}


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"made": {}}, {n: a for n, a in ARRAYS.items() if n != "test.labels"}, "arrays is without ['test.labels']"),
        ({"made": {}}, ARRAYS | {"more": DATA.labels}, "arrays is with ['more']"),
        ({"made": 3}, ARRAYS, "made is 3, expected an object"),
        ({}, ARRAYS, "header is incomplete: made is missing"),
        (
            {"made": {}},
            ARRAYS | {"test.counts": DATA.counts[:, 1:]},
            "steps of the test set is 9, expected 10 as",
        ),
        ({"made": {}}, ARRAYS | {"test.counts": DATA.counts * 1.0}, "recordings dtype is float64, expected uint8"),
    ],
)
def test_wrong_files(header: dict[str, Any], arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.npz"
    save_archive(path, "recordings", header, arrays)
    with pytest.raises(UserError) as error:
        load(path)
    assert f"recordings file {path}: {message}" in str(error.value)


def test_a_pair_has_one_shape(tmp_path: Path) -> None:
    other = Recordings(TEST.counts[..., :5], TEST.labels)
    with pytest.raises(UserError, match=r"shape of the test set is \(2, 4, 5\), expected \(2, 4, 6\) as in training"):
        save(tmp_path / "pair.npz", DATA, other)


def test_the_last_ones_or_a_group_are_held_out() -> None:
    training, validation = split(DATA, 30)
    assert np.array_equal(validation.counts, DATA.counts[-30:])
    assert len(training) == 210
    assert len(split(DATA)[1]) == 24
    training, speaker = split(DATA, group=1)
    assert set(training.groups) == {0, 2}
    assert set(speaker.groups) == {1}
    assert len(training) + len(speaker) == 240


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA, "held_out_group is 7, expected one of several: 0, 1, 2"),
        (replace(DATA, groups=np.full(240, 7, np.int32)), "held_out_group is 7, expected one of several: 7"),
        (replace(DATA, groups=None), "held_out_group is 7, expected None: the data has no groups"),
    ],
)
def test_groups_that_cannot_be_held_out(data: Recordings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(data, group=7)


IMAGES = Dataset(np.zeros((3, *SHAPE), np.uint8), np.zeros(3, np.uint8))
EVENTS = described("48-8-4", Recorded(STEPS, 3))(SHAPE)


@pytest.mark.parametrize(
    ("data", "network", "message"),
    [
        (DATA, described("48-8-4")(SHAPE), "the set is recordings, expected images, which the network 48-8-4 reads"),
        (IMAGES, EVENTS, "the set is images, expected recordings, which the network 48-8-4 reads"),
        (
            replace(DATA, counts=DATA.counts[..., 1:]),
            EVENTS,
            r"shape of a step of the the set is \(2, 4, 5\)",
        ),
        (replace(DATA, labels=DATA.labels + 1), EVENTS, "classes in the the set is 5, expected at most 4"),
    ],
)
def test_what_does_not_fit(data: Any, network: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(data, network, "the set")


def test_data_takes_the_steps_of_the_network() -> None:
    assert fit(DATA, replace(EVENTS, steps=12), "set").steps == 12
    assert fit(IMAGES, described("48-8-4")(SHAPE), "set") is IMAGES


def test_lines_of_layers_for_recordings() -> None:
    found = described("6C3-P2-20c-R8a-4", Recorded(12, 2))(SHAPE)
    assert isinstance(found, Graph)
    assert found.inputs == (InputSpec("events", SHAPE, held=False, counts=2),)
    assert found.steps == 12
    assert found.readout.kind == "sum"
    maps, dense, recurrent, output = found.populations
    assert maps.inputs[0].synapses == ConvSpec(6)
    assert maps.batch_norm
    assert dense.inputs[0].pool is not None
    assert dense.neuron.current is not None
    assert recurrent.inputs[1].delay == 1
    assert recurrent.neuron.adaptation is not None
    assert output.inputs[0].synapses == DenseSpec(4)
    assert not output.neuron.spiking
    assert Graph.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist-mlp", "network is mnist-mlp, expected layers such as 578-256-10"),
        ("40-8-4", r"layers 40-8-4, sources is 40, expected 48, the sources of a step of shape \(2, 4, 6\)"),
        ("48-P2-4", "layers 48-P2-4, part is P2, expected a pool only after a convolution"),
        ("48-8x-4", "layers 48-8x-4, part is 8x, expected N, RN, each with the letters c, a and s, NCk, Pk or APk"),
        ("48-R8", "layers 48-R8, last part is R8, expected N, the number of outputs"),
        ("6C2-4", "layers 6C2-4, kernel of 6C2 is 2, expected odd, such as 3"),
        ("R8-4", "network is R8-4, expected layers such as"),
    ],
)
def test_lines_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        described(text, Recorded(STEPS, 3))(SHAPE)


def test_a_configuration_takes_lines_for_recordings() -> None:
    assert TrainConfig(network="6C3-P2-20c-R8a-4").network == "6C3-P2-20c-R8a-4"
    with pytest.raises(UserError, match="network is nothing"):
        TrainConfig(network="nothing")


def test_inputs_of_counts() -> None:
    with pytest.raises(UserError, match="input events held is True, expected False: counts differ by step"):
        InputSpec("events", SHAPE, True, 3)
    with pytest.raises(UserError, match="input events counts is 9, expected 0 to 8"):
        InputSpec("events", SHAPE, False, 9)
    mixed = (EVENTS.inputs[0], InputSpec("image", SHAPE))
    both = replace(EVENTS.populations[0], inputs=(EVENTS.populations[0].inputs[0],) * 2)
    other = replace(both, inputs=(both.inputs[0], replace(both.inputs[0], sources=("image",))))
    with pytest.raises(UserError, match="input image counts is 0, expected bits of a count for all inputs, or 0 for"):
        replace(EVENTS, inputs=mixed, populations=(other, *EVENTS.populations[1:]))
    assert "counts" not in described("28-R4-3")((1, 28, 28)).to_json()["inputs"][0], "files of images stay as they were"


def test_counts_above_the_largest_are_the_largest() -> None:
    network = replace(EVENTS, inputs=(replace(EVENTS.inputs[0], counts=1),))
    torch.manual_seed(0)
    module = module_of(network).eval()
    with torch.no_grad():
        for synapses in module.populations[0].synapses:
            synapses.weight.mul_(8)  # so that neurons fire
        found = module(torch.from_numpy(DATA.counts[:6]))
        assert torch.equal(found, module(torch.from_numpy(DATA.counts[:6]).clamp(max=1)))
        assert not torch.equal(found, module(torch.from_numpy(DATA.counts[6:12])))


def test_frames_of_recordings_are_clipped_to_the_input() -> None:
    spikes = frames_of_recordings(Input(SHAPE, 8, "spikes"), STEPS, DATA.counts[:5])
    assert np.array_equal(spikes, (DATA.counts[:5] > 0).reshape(5, STEPS, 48))
    graded = frames_of_recordings(Input((48,), 2, "graded"), STEPS, torch.from_numpy(DATA.counts[:5]))
    assert np.array_equal(graded.numpy(), DATA.frames[:5].clip(max=3))
    for given, message in (
        (Input(SHAPE), "input.kind is static, expected spikes or graded: recordings"),
        (Input((2, 6, 4), 2, "graded"), r"recordings shape is \(2, 4, 6\), expected \(2, 6, 4\), what the network"),
    ):
        with pytest.raises(UserError, match=message):
            frames_of_recordings(given, STEPS, DATA.counts[:5])
    with pytest.raises(UserError, match="recordings steps is 10, expected 9, those of the network"):
        frames_of_recordings(Input(SHAPE, 2, "graded"), 9, DATA.counts[:5])


def test_training_learns_and_repeats(trained: Checkpoint) -> None:
    assert trained.figures["validation"] > 0.9
    assert trained.census.connectivity == pytest.approx(0.4, abs=0.01)
    assert trained.network.inputs[0].counts == 3
    assert trained.origin["recordings"] == {"by": 1}
    again = train(replace(CONFIG, epochs=1), DATA)
    assert again.weights_digest == train(replace(CONFIG, epochs=1), DATA).weights_digest


def test_a_speaker_is_held_out_in_training() -> None:
    train(replace(CONFIG, epochs=1, batch=160, held_out_group=1), DATA)
    with pytest.raises(UserError, match="batch is 161, expected at most the 160 training images"):
        train(replace(CONFIG, epochs=1, batch=161, held_out_group=1), DATA)


def test_other_steps_than_those_of_the_data() -> None:
    found = train(replace(CONFIG, epochs=1, steps=6), DATA)
    assert found.network.steps == 6


@pytest.mark.parametrize("bits", [1, 3])
def test_integers_of_a_network_that_reads_events(trained: Checkpoint, bits: int) -> None:
    network = replace(trained.network, inputs=(replace(trained.network.inputs[0], counts=bits),))
    folded = fold_graph(replace(trained, network=network))
    formats = GraphFormats(weight_bits=5)
    found = quantize_graph(folded, formats)
    assert (found.inputs[0].kind, found.inputs[0].largest) == (("spikes", 1) if bits == 1 else ("graded", 7))
    units = weight_units(folded, formats)
    module = IntegerGraph(at_units(folded, formats, units), reals_of(folded, formats, units))
    _, _, sums = module.trace(torch.from_numpy(TEST.counts))
    outcome = engine.run(found, frames_for(found, TEST))
    assert np.array_equal(sums.numpy(), outcome.counts)
    assert np.array_equal(outcome.counts[:3], reference.run(found, frames_for(found, TEST)[:3]).counts)


def test_an_event_is_worth_one(trained: Checkpoint) -> None:
    """The integers classify as the floats do: counts are not scaled as pixels are."""
    found = quantise(trained, GraphFormats(weight_bits=8), DATA, "weights")
    with torch.no_grad():
        module = module_of(trained.network)
        for name, values in trained.arrays.items():
            module.load(name, torch.from_numpy(values))
        floats = module.eval()(torch.from_numpy(TEST.counts)).argmax(dim=1).numpy()
    assert (engine.run(found, frames_for(found, TEST)).classes == floats).mean() > 0.9


def test_fine_tuning_on_recordings(trained: Checkpoint) -> None:
    found = quantise(trained, GraphFormats(weight_bits=3), DATA, "qat", epochs=1, drop=0.1)
    assert found.notes["qat"]["data"] == DATA.digest
    assert found.notes["qat"]["drop"] == 0.1
    with pytest.raises(UserError, match="recordings steps is 9, expected 10"):
        quantise(trained, GraphFormats(weight_bits=3), DATA.fitted(9), "qat", epochs=1)


def test_commands_take_a_file_of_recordings(file: Path, tmp_path: Path) -> None:
    words = ["--data", file, "--layers", "48-R12-4", "--connectivity", "0.5", "--epochs", 1, "--batch", 20]
    gradrtl("train", *words, "--steps", 9, "--jitter", 1, "--out", tmp_path)
    output = tmp_path / "network.npz"
    gradrtl("quantize", tmp_path / "checkpoint.npz", "--data", file, "-o", output)
    network = QuantizedNetwork.load(output)
    assert network.steps == 9
    assert network.rates is not None
    told = gradrtl("simulate", output, "--data", file).output
    assert "40 images, accuracy" in told
    assert gradrtl("simulate", output, "--frames", file).output == told
    wrong = gradrtl("simulate", output, "--frames", file, "--labels", file, code=2).output
    assert f"labels is {file}, expected not given beside {file}, which has its own" in wrong


def test_images_and_recordings_are_told_apart(file: Path, tmp_path: Path) -> None:
    told = gradrtl("simulate", "--data", file, code=2).output
    assert "input.kind is static, expected spikes or graded: recordings" in told
    told = gradrtl("train", "--data", file, "--out", tmp_path, code=2).output
    assert "network is mnist-mlp, expected layers such as 578-256-10 or 16C3-P2-64-10, or a graph: recordings" in told


def events_of(counts: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(place) for place in counts.nonzero().tolist() for _ in range(int(counts[tuple(place)]))]


def augmented(augment: EventAugment, counts: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return augment(counts, torch.Generator().manual_seed(seed))


def test_events_that_stay() -> None:
    counts = torch.from_numpy(DATA.counts[:4])
    assert augmented(EventAugment(0.0), counts) is counts
    assert torch.equal(augmented(EventAugment(0.0, drop=1e-9), counts), counts)


@pytest.mark.parametrize(
    ("augment", "axis", "most"),
    [
        (EventAugment(0.5), 4, 3),
        (EventAugment(0.5), 3, 2),
        (EventAugment(0.0, lag=2), 1, 2),
    ],
)
def test_whole_recordings_move(augment: EventAugment, axis: int, most: int) -> None:
    """A single event in the middle shows by how much each recording has moved; several move alike."""
    counts = torch.zeros((64, 9, 2, 8, 9) if axis < 4 else (64, 9, 2, 8, 7), dtype=torch.uint8)
    if axis == 3:
        counts = torch.zeros((64, 9, 2, 4, 9), dtype=torch.uint8)
    middle = [4, 1, counts.shape[3] // 2, counts.shape[4] // 2]
    counts[:, middle[0], middle[1], middle[2], middle[3]] = 5
    moved = events_of(augmented(augment, counts))
    shifts = {event[axis] - middle[axis - 1] for event in moved}
    inside = [by for by in range(-most - 1, most + 2) if 0 <= middle[axis - 1] + by < counts.shape[axis]]
    assert shifts == {by for by in inside if abs(by) <= (round(0.5 * counts.shape[axis]) if axis > 1 else most)}
    assert all(event[2] == 1 for event in moved)
    assert len(moved) == 5 * len({event[0] for event in moved})


def test_events_jitter_one_by_one() -> None:
    counts = torch.zeros((2, 9, 1, 1, 1), dtype=torch.uint8)
    counts[:, 4] = 200
    found = augmented(EventAugment(0.0, jitter=2), counts)
    assert found.sum() == 400
    assert (found[:, 2:7] > 20).all()
    assert not found[:, :2].any()
    assert not torch.equal(found[0], found[1])


def test_events_are_dropped_one_by_one() -> None:
    counts = torch.full((16, 4, 1, 4, 4), 20, dtype=torch.uint8)
    kept = augmented(EventAugment(0.0, drop=0.5), counts).sum(dim=(1, 2, 3, 4)) / 1280
    assert (kept > 0.45).all()
    assert float(kept.max()) > 0.9
    assert float(kept.min()) < 0.65


def test_events_are_stretched_with_their_recording() -> None:
    """At a speed from 0.5 to 1.5 the event of step 8 falls between 8 / 1.5 and 9 / 0.5; its recording's with it."""
    counts = torch.zeros((200, 40, 1, 1, 1), dtype=torch.uint8)
    counts[:, 8] = 100
    counts[:, 16] = 100
    found = augmented(EventAugment(0.0, stretch=0.5), counts).flatten(1).long()
    first = found.cumsum(dim=1) <= 100
    steps = torch.arange(40)
    middle = (found * first * steps).sum(dim=1) / 100
    last = (found * ~first * steps).sum(dim=1) / (found * ~first).sum(dim=1)
    whole = found.sum(dim=1) == 200
    assert whole.sum() > 150, "few leave the recording"
    assert found[:, :5].sum() == 0
    assert float(middle[whole].min()) < 6
    assert float(middle[whole].max()) > 11
    assert (found * first > 0).sum(dim=1).max() > 1, "the events of a step are spread"
    ratio = ((last + 0.5) / (middle + 0.5))[whole]
    assert (ratio > 1.6).all()
    assert (ratio < 2.3).all()
    assert torch.equal(augmented(EventAugment(0.0, stretch=1e-9), counts), counts)


def test_runs_of_sources_and_steps_are_silent() -> None:
    counts = torch.full((200, 20, 2, 3, 10), 7, dtype=torch.uint8)
    found = augmented(EventAugment(0.0, mask=0.3), counts)
    assert set(found.unique().tolist()) == {0, 7}
    columns, steps = (found > 0).any(dim=1).all(dim=(1, 2)), (found > 0).flatten(2).any(dim=2)
    assert torch.equal(found > 0, (columns[:, None] & steps[:, :, None])[:, :, None, None].expand_as(found))
    for heard, most in ((columns, 3), (steps, 6)):
        silent = (~heard).sum(dim=1)
        assert set(silent.tolist()) == set(range(most + 1))
        edges = (heard[:, 1:] != heard[:, :-1]).sum(dim=1)
        assert (edges <= 2).all(), "one run each"
        assert not heard[:, 0].all()
        assert not heard[:, -1].all()


def test_half_of_the_recordings_are_mirrored() -> None:
    counts = torch.zeros((40, 1, 1, 1, 5), dtype=torch.uint8)
    counts[..., 1] = 1
    found = augmented(EventAugment(0.0, flip=True), counts)[:, 0, 0, 0]
    assert 10 < int(found[:, 3].sum()) < 30
    assert torch.equal(found[:, 1] + found[:, 3], torch.ones(40))


def test_counts_that_meet_stay_at_the_largest() -> None:
    counts = torch.full((1, 3, 1, 1, 1), 250, dtype=torch.uint8)
    found = augmented(EventAugment(0.0, jitter=1), counts).flatten()
    assert int(found[1]) > 200
    assert augmented(EventAugment(0.0, lag=2), counts, seed=3).max() <= 255


def test_augmentation_is_seeded() -> None:
    augment = augment_for(replace(CONFIG, shift=0.3, drop=0.3, jitter=1, lag=1, flip=True, stretch=0.1, mask=0.2), DATA)
    assert augment == EventAugment(0.3, True, 0.3, 1, 1, 0.1, 0.2)
    first, again, other = (next(batches(DATA, 20, augment, seed, 0))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
