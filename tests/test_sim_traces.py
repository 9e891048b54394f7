"""Traces of single frames: the Verilog's are what it does, and a difference is where the comparison saw it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_accelerator import fake_verilog, faulty, small_network

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, traces
from gradrtl.sim.driving import Stalls
from gradrtl.sim.verify import Verification, verify

pytestmark = pytest.mark.rtl

NETWORK = small_network()
MAPPING = map_network(NETWORK, (2, 2))
TEXT = fake_verilog(MAPPING).replace("// mapping:", "// placed:")
FRAMES = np.random.default_rng(3).integers(0, 256, (6, 11)).astype(np.uint8)
FRAMES[:, -1] = 0
OPTIONS = {"quick": True, "patience": 2000}


def compared(frames: np.ndarray, jobs: int = 1) -> Verification:
    return verify(MAPPING, TEXT, frames, jobs=jobs, stalls=Stalls(0.2, 0.2, 5), **OPTIONS)


def recorded(frames: np.ndarray, found: Verification, *chosen: int) -> tuple[traces.Traced, ...]:
    return traces.record(MAPPING, TEXT, frames, found, chosen, stalls=Stalls(0.2, 0.2, 5), **OPTIONS)


def test_equal_frames_have_equal_traces() -> None:
    one, other = recorded(FRAMES, compared(FRAMES), 1, 4)
    assert (one.frame, other.frame) == (1, 4)
    whole = engine.run(NETWORK, FRAMES, trace=True).trace
    assert whole is not None
    for found in (one, other):
        assert found.got is not None
        assert found.differing == (0, 0)
        for layer in range(2):
            assert np.array_equal(found.expected.membranes[layer], whole.membranes[layer][found.frame])
            built = found.built[layer]
            assert np.array_equal(found.got.spikes[layer][:, built], whole.spikes[layer][found.frame][:, built])


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(("fault", "part"), [("spike", "spikes"), ("membrane", "membranes")])
def test_a_difference_is_in_the_trace_of_the_verilog_alone(fault: str, part: str, jobs: int) -> None:
    frames = faulty(FRAMES, fault, 3)
    found = compared(frames, jobs)
    where = found.difference
    assert where is not None
    (one,) = recorded(frames, found, where.frame)
    assert one.got is not None
    assert sum(one.differing) > 0
    place = where.step, where.neuron
    assert getattr(one.expected, part)[where.layer][place] == where.expected
    assert getattr(one.got, part)[where.layer][place] == where.got


def test_the_stalls_are_those_of_the_driver_that_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = faulty(FRAMES, "membrane", 3)
    found = compared(frames, 3)
    assert found.shares == (0, 2, 4)
    seeds: list[int] = []
    run = traces._recorded
    monkeypatch.setattr(traces, "_recorded", lambda *given: (seeds.append(given[2].seed), run(*given))[1])
    recorded(frames, found, 3)
    assert seeds == [6], "the second driver"


def test_neurons_that_are_not_built_do_not_differ() -> None:
    (one,) = recorded(FRAMES, compared(FRAMES), 1)
    assert one.got is not None
    spikes = tuple(np.array(part) for part in one.got.spikes)
    spikes[0][1, 2] ^= 1
    built = tuple(np.array(part) for part in one.built)
    changed = replace(one, got=replace(one.got, spikes=spikes), built=built)
    assert changed.differing == (1, 0)
    built[0][2] = False
    assert changed.differing == (0, 0)


def test_frames_that_did_not_come_have_no_trace() -> None:
    frames = faulty(FRAMES, "hang", 2)
    found = compared(frames)
    before, stuck = recorded(frames, found, 1, 2)
    assert before.got is not None
    assert (stuck.got, stuck.why) == (None, "the Verilog did not complete this frame")
    assert stuck.differing == (0, 0)


def test_many_frames_before_a_difference_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = faulty(FRAMES, "membrane", 5)
    found = compared(frames)
    monkeypatch.setattr(traces, "LARGEST", 2 * 5 * 3 * 10)  # two frames of three steps of ten neurons
    sent: list[int] = []
    run = traces._recorded
    monkeypatch.setattr(
        traces, "_recorded", lambda model, given, *rest: (sent.append(len(given[0])), run(model, given, *rest))[1]
    )
    (one,) = recorded(frames, found, 5)
    assert sent == [2]
    assert sum(one.differing) > 0


def test_a_frame_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="frame is 6, expected 0 to 5"):
        recorded(FRAMES, compared(FRAMES), 6)


def test_traces_are_kept_in_a_file(tmp_path: Path) -> None:
    frames = faulty(FRAMES, "hang", 2)
    made = recorded(frames, compared(frames), 0, 2)
    traces.save(tmp_path / "traces.npz", made)
    for one, kept in zip(made, traces.load(tmp_path / "traces.npz"), strict=True):
        assert (kept.frame, kept.why, kept.got is None) == (one.frame, one.why, one.got is None)
        for ours, theirs in ((one.expected, kept.expected), (one.got, kept.got)):
            for part in traces.NAMES if ours is not None else ():
                pairs = zip(getattr(ours, part), getattr(theirs, part), strict=True)
                assert all(np.array_equal(a, b) for a, b in pairs)
        assert all(np.array_equal(a, b) for a, b in zip(one.built, kept.built, strict=True))
