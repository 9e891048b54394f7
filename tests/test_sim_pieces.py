"""A comparison in pieces: results are kept, an interrupted run goes on, nothing of another comparison counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_accelerator import fake_verilog, faulty, small_network

from gradrtl.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, pieces, toolchain, verilated
from gradrtl.sim import verify as comparison
from gradrtl.sim.driving import Stalls
from gradrtl.sim.pieces import FRAMES, Log, Piece
from gradrtl.sim.verify import verify

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).parents[1]
NETWORK = small_network((5, 3, 2), steps=2)
MAPPING = map_network(NETWORK, (1, 1))
TEXT = fake_verilog(MAPPING).replace("// mapping:", "// placed:")  # its cycles are not those of the accelerator
COUNT = 2 * FRAMES + 3
IMAGES = np.random.default_rng(3).integers(0, 256, (COUNT, 5)).astype(np.uint8)
IMAGES[:, -1] = 0


@pytest.fixture(scope="module")
def model():
    return verilated.build(TEXT, MAPPING, quick=True)


def compared(model, log, frames=IMAGES, **options):
    """The result, and the numbers of frames that were sent and that were known."""
    sent, known = [], []
    found = verify(MAPPING, TEXT, frames, model=model, log=log, progress=sent.append, resumed=known.append, **options)
    return found, sum(sent), sum(known)


def figures(found):
    """All that does not depend on the time of day."""
    times = {name: values.tolist() for name, values in vars(found.times).items()}
    arrays = {name: getattr(found, name).tolist() for name in ("classes", "latency", "interval")}
    told = {name: getattr(found, name) for name in ("frames", "spikes", "membranes", "predicted", "cycles", "shares")}
    return told | arrays | times


def test_pieces_give_what_one_run_gives(model, tmp_path):
    whole = verify(MAPPING, TEXT, IMAGES, model=model)
    found, sent, known = compared(model, tmp_path / "log.jsonl", jobs=2)
    assert found.passed
    assert (sent, known) == (COUNT, 0)
    assert (found.frames, found.spikes, found.membranes) == (whole.frames, whole.spikes, whole.membranes)
    assert (found.classes == whole.classes).all()
    assert found.shares == (0, FRAMES, 2 * FRAMES)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_the_size_of_a_piece_is_documented():
    assert f"each piece of {FRAMES} frames" in (ROOT / "docs/verification.md").read_text()


def test_an_interrupted_run_goes_on(model, tmp_path):
    first, _, _ = compared(model, tmp_path / "log.jsonl")
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text(lines[0] + lines[1][:50])  # killed while it wrote
    found, sent, known = compared(model, tmp_path / "log.jsonl", jobs=2)
    assert (sent, known) == (COUNT - FRAMES, FRAMES)
    assert figures(found) == figures(first)
    told = f"{FRAMES} frames were compared by earlier runs, whose results are in {tmp_path}/log.jsonl"
    assert told in found.notes
    found, sent, known = compared(model, tmp_path / "log.jsonl")
    assert (sent, known) == (0, COUNT)
    assert figures(found) == figures(first)


def test_an_interruption_keeps_what_is_done(model, tmp_path):
    def interrupt(count):
        sent.append(count)
        if sum(sent) > FRAMES:
            raise KeyboardInterrupt

    sent: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        verify(MAPPING, TEXT, IMAGES, model=model, log=tmp_path / "log.jsonl", progress=interrupt)
    found, _, known = compared(model, tmp_path / "log.jsonl")
    assert known == FRAMES
    assert found.passed


@pytest.mark.parametrize("options", [{"stalls": Stalls(0.1, 0.2)}, {"apart": True}, {"frames": IMAGES[:, ::-1].copy()}])
def test_results_of_another_comparison_do_not_count(model, tmp_path, options):
    if "frames" in options:
        options["frames"][:, -1] = 0
    compared(model, tmp_path / "log.jsonl")
    _, sent, known = compared(model, tmp_path / "log.jsonl", **options)
    assert (sent, known) == (COUNT, 0)


def test_results_of_other_verilog_do_not_count(model, tmp_path):
    compared(model, tmp_path / "log.jsonl")
    known: list[int] = []
    verify(MAPPING, f"{TEXT}// changed\n", IMAGES, model=model, log=tmp_path / "log.jsonl", resumed=known.append)
    assert known == []


def test_results_of_other_sources_do_not_count(model, tmp_path, monkeypatch):
    compared(model, tmp_path / "log.jsonl")
    monkeypatch.setattr(pieces, "sources", lambda *names: "others")
    assert compared(model, tmp_path / "log.jsonl")[1:] == (COUNT, 0)


def test_more_frames_of_the_same_set_use_what_is_known(model, tmp_path):
    compared(model, tmp_path / "log.jsonl", IMAGES[: 2 * FRAMES])
    assert compared(model, tmp_path / "log.jsonl")[1:] == (3, 2 * FRAMES)


def test_a_piece_with_a_difference_is_not_kept(model, tmp_path):
    for _ in range(2):
        found, _, _ = compared(model, tmp_path / "log.jsonl", faulty(IMAGES, "wrong class", FRAMES + 2))
        assert not found.passed
        assert found.difference.frame == FRAMES + 2
        assert found.seen.share == FRAMES
        kept = (tmp_path / "log.jsonl").read_text()
        assert f'"piece": "{FRAMES} ' not in kept
        assert '"piece": "0 ' in kept


def test_a_long_run_has_a_faster_model(tmp_path, monkeypatch):
    class Built(Exception):
        pass

    def build(*_, **options):
        asked.append(options["long"])
        raise Built

    asked: list[bool] = []
    monkeypatch.setattr(comparison, "build", build)
    for log, quick in ((None, False), (tmp_path / "log.jsonl", False), (tmp_path / "log.jsonl", True)):
        with pytest.raises(Built):
            verify(MAPPING, TEXT, IMAGES, log=log, quick=quick)
    assert asked == [False, True, False]
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(toolchain, "_verilate", lambda folder, prefix, style, *_: calls.append(style.options))
    monkeypatch.setattr(toolchain, "_compile", lambda folder, *_: (folder / "model").write_text(""))
    for long in (False, True):
        verilated.build(TEXT, MAPPING, cache=tmp_path / "cache", quick=True, long=long)
    assert [toolchain.UNMERGED in options for options in calls] == [True, False]


def test_what_is_known_behind_a_difference_does_not_count(model, tmp_path):
    """`classes` and `times` have a place for each frame from the first on; `shares` are those of all drivers."""
    compared(model, tmp_path / "log.jsonl")
    found, _, known = compared(model, tmp_path / "log.jsonl", faulty(IMAGES, "wrong class", FRAMES + 2))
    assert known == COUNT - FRAMES
    assert found.difference.frame == FRAMES + 2
    assert found.shares == (0, FRAMES, 2 * FRAMES)
    assert len(found.classes) == found.frames <= 2 * FRAMES


def test_pieces_behind_a_difference_are_not_begun(model, monkeypatch, tmp_path):
    def counted(*given, **options):
        begun.append(len(given[1][0]))
        return blocks(*given, **options)

    begun, blocks = [], engine.blocks
    monkeypatch.setattr(engine, "blocks", counted)
    compared(model, tmp_path / "log.jsonl", faulty(IMAGES, "wrong class", 2))
    assert begun == [FRAMES]


def test_a_file_of_something_else_is_told_before_the_build(tmp_path, monkeypatch):
    def build(*given, **options):
        raise AssertionError("built")

    monkeypatch.setattr(comparison, "build", build)
    (tmp_path / "log").write_text('{"passed": true}')
    with pytest.raises(UserError, match=r'line of .*log is \{"passed": true\}, expected a result'):
        verify(MAPPING, TEXT, IMAGES, log=tmp_path / "log")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("spikes", None, "is incomplete: spikes is missing"),
        ("spikes", -5, "spikes is -5, expected 0 to"),
        ("spikes", 1.5, "spikes is 1.5, expected a whole number"),
        ("classes", [0], r"classes is \[0\], expected 2 whole numbers"),
        ("result", ["a", "b"], "result is .*, expected 2 whole numbers"),
        ("begin", 0, "begin is 0, expected 20"),
    ],
)
def test_a_damaged_piece_is_refused(field, value, told, tmp_path):
    piece = Piece(20, 6, 6, 2, 100, 7, *(np.arange(n, n + 2) for n in range(4)))
    frames = (np.arange(44, dtype=np.uint8).reshape(22, 2),)
    with Log(tmp_path / "log", {}) as log:
        log.add(frames, piece)
    line = json.loads((tmp_path / "log").read_text())
    line = {name: kept for name, kept in (line | {field: value}).items() if kept is not None}
    (tmp_path / "log").write_text(json.dumps(line) + "\n")
    with Log(tmp_path / "log", {}) as log, pytest.raises(UserError, match=f"piece 20 of .*log {told}"):
        log.find(frames, 20, 22)


def test_a_stream_is_not_cut(tmp_path):
    network = QuantizedNetwork.load(ROOT / "networks/mnist-rows-20pct.npz").streamed
    streamed = map_network(network, Placement((1, 1), stream=True))
    with pytest.raises(UserError, match=r"log is .*, expected left out for a stream"):
        verify(streamed, TEXT, np.zeros((2, 5), np.uint8), log=tmp_path / "log")


def test_a_piece_comes_back_from_its_values(tmp_path):
    piece = Piece(20, 6, 6, 2, 100, 7, *(np.arange(n, n + 2) for n in range(4)))
    frames = (np.arange(44, dtype=np.uint8).reshape(22, 2),)
    with Log(tmp_path / "log", {}) as log:
        assert log.find(frames, 20, 22) is None
        log.add(frames, piece)
        log.add(frames, replace(piece, spikes=8))
    with Log(tmp_path / "log", {}) as log:
        found = log.find(frames, 20, 22)
        assert found is not None
        assert found.values == piece.values
        assert log.find(frames, 19, 21) is None
    with Log(tmp_path / "log", {"other": 1}) as log:
        assert log.find(frames, 20, 22) is None
