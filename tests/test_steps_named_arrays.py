"""Frames of several inputs in one `.npz` file, and each mistake in one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from graphs import population, weights

from gradrtl.cli import main
from gradrtl.errors import UserError
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.steps import named_arrays
from gradrtl.steps.frames import Chosen, labelled_frames

EVENTS = Input((2, 1, 3), kind="spikes", name="events of the left")
COUNTS = Input((4,), bits=3, kind="graded", name="counts")
STEPS = 3
SPIKES = np.random.default_rng(0).integers(0, 2, (5, STEPS, 2, 1, 3), dtype=np.uint8)
NUMBERS = np.random.default_rng(1).integers(0, 8, (5, STEPS, 4))
BOTH = {"counts": NUMBERS, EVENTS.name: SPIKES}


def network(*inputs: Input) -> QuantizedNetwork:
    heard = (Connection(one.name, weights(3, int(np.prod(one.shape)), seed), 4) for seed, one in enumerate(inputs))
    return QuantizedNetwork(inputs, (population("out", 3, *heard),), STEPS)


def frames(path: Path, arrays: dict[str, Any], *inputs: Input) -> Any:
    np.savez(path / "frames.npz", **arrays)
    return labelled_frames(network(*(inputs or (EVENTS, COUNTS))), Chosen(frames=path / "frames.npz", images=4))[0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_go_to_the_inputs_of_their_names(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "frames.npz", **BOTH)
    spikes, counts = labelled_frames(network(EVENTS, COUNTS), Chosen(frames=tmp_path / "frames.npz"))[0]
    assert np.array_equal(spikes, SPIKES.reshape(5, STEPS, 6))
    assert np.array_equal(counts, NUMBERS)
    assert spikes.dtype == counts.dtype == np.uint8


def test_one_input_and_the_first_frames(tmp_path: Path) -> None:
    assert np.array_equal(frames(tmp_path, {"counts": NUMBERS}, COUNTS), NUMBERS[:4])
    assert [len(values) for values in frames(tmp_path, BOTH)] == [4, 4]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"counts": NUMBERS},
            "arrays is counts, expected events of the left, counts: one for each input, under its name",
        ),
        ({**BOTH, "labels": NUMBERS}, "arrays is counts, events of the left, labels, expected"),
        ({}, "arrays is none, expected"),
        ({**BOTH, "counts": NUMBERS[:, :2]}, r"frames of counts shape is \(5, 2, 4\), expected \[n, 3, 4\]"),
        ({**BOTH, "counts": NUMBERS[:3]}, "frames of counts is 3, expected 5, as of the first"),
        ({**BOTH, "counts": NUMBERS + 1}, "frames of counts largest count is 8, expected 0 to 7"),
        ({**BOTH, "counts": NUMBERS * 1.0}, "frames of counts dtype is float64, expected uint8"),
        ({name: values[:0] for name, values in BOTH.items()}, "frames is 0, expected at least 1"),
        ({**BOTH, "counts": np.array([None])}, "not a .npz file of numbers, or damaged"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        frames(tmp_path, arrays)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "frames.npz", **BOTH)
    whole = (tmp_path / "frames.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("counts", "no array")
    (tmp_path / "short.npz").write_bytes(whole[:-30])
    (tmp_path / "changed.npz").write_bytes(whole.replace(NUMBERS.tobytes(), bytes(NUMBERS.nbytes)))
    for name, inputs in (("text", [COUNTS]), ("short", [EVENTS, COUNTS]), ("changed", [EVENTS, COUNTS])):
        with pytest.raises(UserError, match=rf"frames file .*{name}.npz: not a .npz file of numbers, or damaged"):
            labelled_frames(network(*inputs), Chosen(frames=tmp_path / f"{name}.npz"))


def test_a_file_that_unpacks_to_more_than_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_arrays, "LARGEST", 800)
    with pytest.raises(UserError, match=r"unpacked size is 826 bytes, expected at most 800"):
        frames(tmp_path, BOTH)


def command(name: str, folder: Path, *words: str) -> Result:
    network(EVENTS, COUNTS).save(folder / "network.npz")
    np.savez(folder / "frames.npz", **BOTH)
    given = [name, str(folder / "network.npz"), *words, "--frames", str(folder / "frames.npz"), "--json"]
    return CliRunner().invoke(main, given)


def test_simulate_takes_the_frames_of_several_inputs(tmp_path: Path) -> None:
    found = command("simulate", tmp_path, "--threads", "1")
    assert found.exit_code == 0, found.output
    assert "5 images" in found.stderr
    assert json.loads(found.stdout)["accuracy"] is None
    events = json.loads(found.stdout)["events"]
    assert events == {f"out from {EVENTS.name}": SPIKES.sum() / 5, "out from counts": (NUMBERS > 0).sum() / 5}


def test_verify_compares_the_frames_of_several_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def compare(mapping: Any, text: Any, given: Any, *more: Any) -> None:
        taken.extend(given)
        raise UserError("not compiled here")

    monkeypatch.setattr("gradrtl.steps.verify.verify", compare)
    assert "not compiled here" in command("verify", tmp_path, "--pe", "1", "--images", "3").stderr
    assert [values.shape for values in taken] == [(3, STEPS, 6), (3, STEPS, 4)]
