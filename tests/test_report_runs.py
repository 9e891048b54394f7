"""What a report says of a comparison: the verdict, the first difference, and the figures as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import html_pages
import numpy as np
import pytest
from graphs import recurrent

from gradrtl.report import pictures, sections
from gradrtl.report.page import render
from gradrtl.report.runs import compared, verification
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.compare import Difference
from gradrtl.sim.traces import simulated
from gradrtl.steps.results import judgement, work_of

NETWORK = recurrent()
MAPPING = map_network(NETWORK, (2, 1))
FRAMES = np.random.default_rng(2).integers(0, 4, (6, 8, 6)).astype(np.uint8)
FIGURES: dict[str, Any] = {
    "passed": True,
    "network": "some <network>.npz",
    "digest": NETWORK.digest,
    "placement": MAPPING.placement.line,
    "frames": 6,
    "spikes": 1234,
    "membranes": 5678,
    "frames_with_predicted_cycles": 6,
    "difference": None,
    "fault": None,
    "notes": ["the <walls> are missing"],
    "data": "frames.npy",
    "command": "gradrtl verify <network>.npz",
    "interval_cycles": [10, 20, 33],
    "latency_cycles": [100, 120, 110, 130],
    "activity": work_of(MAPPING, FRAMES),
    **judgement(np.array([0, 1, 2, 2, 1, 0]), np.array([0, 1, 2, 1, 1, 0]), 3),
}


def page_of(figures: dict[str, Any], difference: Difference | None = None) -> html_pages.Node:
    drawn = simulated(NETWORK, FRAMES, [0, 3])
    made = verification(Path("report.html"), figures, MAPPING, FRAMES, drawn, difference)
    page = html_pages.read(render(made))
    html_pages.check_self_contained(page)
    return page


def table(page: html_pages.Node, caption: str) -> list[list[str]]:
    return next(html_pages.rows(one) for one in page.all("table") if one.attributes["aria-label"].startswith(caption))


def test_a_comparison_that_passes() -> None:
    page = page_of(FIGURES)
    assert page.one("p", role="status").text == (
        "pass The Verilog computes what the simulator computes. In 6 frames 1,234 spikes and 5,678 membranes are equal"
        ", and the cycles of 6 frames are as predicted."
    )
    assert [node.text for node in page.all("h2")] == [
        "Answers", "Spikes and membranes", "Activity", "Cycles", "Hardware", "Network",
    ]  # fmt: skip
    assert page.one("p", class_="note").text == "Note: the <walls> are missing."
    assert table(page, "Confusion") == [
        ["label", "0", "1", "2"],
        ["0", "2", "0", "0"],
        ["1", "0", "2", "1"],
        ["2", "0", "0", "1"],
    ]
    assert [image.attributes["alt"] for image in page.all("img")] == ["frame 3: label 1, answer 2"]
    assert table(page, "Cycles of a frame")[1:] == [
        ["between results", "21", "10", "33"], ["latency", "115", "100", "130"],
    ]  # fmt: skip
    work = table(page, "Means per frame")
    for row, one in zip(work[1:], FIGURES["activity"], strict=True):
        expected = [sections.number(one[name]) for name in ("spikes", "events", "synapses")]
        assert row[:4] == [one["population"], *expected]
        assert row[5:8] == [
            f"{100 * one['utilisation']:.2f} %",
            *(sections.number(one[n]) for n in ("busiest", "waiting")),
        ]


def test_a_comparison_that_fails() -> None:
    where = Difference(3, "membrane", 7, -8, 5, 1, 2)
    page = page_of(FIGURES | {"passed": False, "difference": str(where)}, where)
    assert (
        page.one("p", role="status").text == f"fail The Verilog differs from the simulator. First difference: {where}."
    )
    assert page.all("h2")[0].text == "First difference"
    assert table(page, "Where it is")[1:] == [
        ["frame", "3"], ["step", "5"], ["population", "output (number 1)"], ["neuron", "2"],
        ["quantity", "membrane"], ["in the simulator", "7"], ["in the Verilog", "-8"],
    ]  # fmt: skip
    assert "Repeat with: gradrtl verify <network>.npz" in page.text


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({"membranes": 0, "frames_with_predicted_cycles": 0}, "pass", "In 6 frames all classes and sums are equal."),
        ({"passed": False, "fault": "nothing moves"}, "fail", "does not finish: nothing moves."),
        ({"passed": False, "difference": "frame 1: sum"}, "fail", "First difference: frame 1: sum."),
    ],
)
def test_verdicts(changed: dict[str, Any], state: str, words: str) -> None:
    found = compared(FIGURES | changed)
    assert found.state == state
    assert found.words.endswith(words)


def test_a_difference_in_a_sum_names_the_class() -> None:
    where = Difference(3, "sum", 7, 8, neuron=2)
    page = page_of(FIGURES | {"passed": False, "difference": str(where)}, where)
    assert ["class", "2"] in table(page, "Where it is")


def test_a_fault_has_no_place() -> None:
    page = page_of(FIGURES | {"passed": False, "fault": "nothing <moves>"})
    assert page.all("h2")[0].text == "What went wrong"
    assert "nothing <moves>." in page.text


def test_without_labels_there_are_no_answers() -> None:
    page = page_of({name: value for name, value in FIGURES.items() if name not in ("confusion", "wrong")})
    assert "Answers" not in [node.text for node in page.all("h2")]


def test_many_classes_are_pairs() -> None:
    answers = np.arange(40)
    answers[:3] = 39
    labels = np.arange(40)
    section = sections.answers(judgement(answers, labels, 40))
    found = html_pages.read(
        render(replace(verification(Path("r"), FIGURES, MAPPING, FRAMES, (), None), sections=(section,)))
    )
    assert table(found, "What is confused most")[1:] == [["0", "39", "1"], ["1", "39", "1"], ["2", "39", "1"]]


def test_a_training_has_a_curve_for_what_it_has() -> None:
    rows = [{"epoch": n, "validation": n / 10, "loss": None, "connectivity": 0.5 / n} for n in (1, 2, 3)]
    made = sections.training(rows)
    assert [chart.title for chart in made.parts if not isinstance(chart, str)] == [
        "Accuracy on held-out images by epoch", "Connectivity by epoch",
    ]  # fmt: skip
    assert sections.training([]).parts == ()


@pytest.mark.parametrize(
    ("shape", "kind", "steps", "size"),
    [
        ((1, 28, 28), "static", None, (64, 64)),
        ((3, 32, 16), "static", None, (32, 64)),
        ((49,), "static", None, (64, 64)),
        ((6,), "graded", 8, (48, 64)),
        ((2, 10, 20), "spikes", 8, (64, 32)),
        ((300,), "spikes", 150, (64, 32)),
    ],
)
def test_frames_are_pictures_of_their_proportions(
    shape: tuple[int, ...], kind: str, steps: int | None, size: tuple[int, int]
) -> None:
    given = replace(NETWORK.inputs[0], shape=shape, kind=kind, bits=1 if kind == "spikes" else 8)
    network = replace(NETWORK)
    object.__setattr__(network, "inputs", (given,))  # the rest of the network does not matter
    frames = np.ones((2, *([] if steps is None else [steps]), int(np.prod(shape))), np.uint8)
    found = pictures.picture(network, (frames,), 1, "a")
    assert (found.width, found.height) == size
