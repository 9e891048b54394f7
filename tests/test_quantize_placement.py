"""A placement validates itself, and comes back from JSON and from a line of text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize.placement import Placement

PLACEMENTS = (
    Placement((16, 4)),
    Placement((1,), 8, 2, 1024),
    Placement((256, 3, 7), pixels_a_beat=1, strided=(0, 2)),
)


@pytest.mark.parametrize("placement", PLACEMENTS, ids=lambda placement: placement.line)
def test_comes_back_from_json_and_text(placement):
    assert Placement.from_json(json.loads(json.dumps(placement.to_json()))) == placement
    assert "\n" not in placement.line
    assert Placement.from_line(placement.line) == placement


def test_the_line():
    text = "pe 16,4; pixels a beat 4; queue depth 16; row queue depth 8; strided none"
    assert Placement((16, 4)).line == text


def test_numpy_integers_become_ints():
    placement = Placement(np.array([16, 4]), np.int64(2), np.uint8(4), np.int32(8), (np.int64(1),))
    assert placement == Placement((16, 4), 2, 4, 8, (1,))
    assert json.dumps(placement.to_json()) == json.dumps(Placement((16, 4), 2, 4, 8, (1,)).to_json())


REFUSED = [
    (lambda: Placement(()), r"pes is \(\), expected a number for each layer"),
    (lambda: Placement((16, 0)), r"pes is \(16, 0\), expected numbers from 1 to 256"),
    (lambda: Placement((257,)), r"pes is \(257,\)"),
    (lambda: Placement(16), "pes is 16, expected a list of whole numbers"),
    (lambda: Placement("16"), "pes is 16, expected a list of whole numbers"),
    (lambda: Placement((1.0,)), r"pes is \(1.0,\), expected whole numbers"),
    (lambda: Placement((True,)), r"pes is \(True,\), expected whole numbers"),
    (lambda: Placement((1,), 3), r"pixels_a_beat is 3, expected one of \(1, 2, 4, 8\)"),
    (lambda: Placement((1,), 16), "pixels_a_beat is 16, expected 1 to 8"),
    (lambda: Placement((1,), 4, 1), "^queue_depth is 1, expected 2 to 1024"),
    (lambda: Placement((1,), 4, 16, 1025), "row_queue_depth is 1025, expected 2 to 1024"),
    (lambda: Placement((1,), strided=(1,)), r"strided is \(1,\), expected numbers from 0 to 0"),
    (lambda: Placement((1, 1), strided=(1, 0)), r"strided is \(1, 0\), expected layers in ascending order, each once"),
    (lambda: Placement((1, 1), strided=(1, 1)), r"strided is \(1, 1\), expected layers in ascending order, each once"),
    (lambda: Placement((1, 1)).check(3), r"pes is \(1, 1\), expected 3 numbers, one for each layer"),
    (lambda: Placement.from_json([1]), r"placement is \[1\], expected an object with the fields"),
    (lambda: Placement.from_json({"pes": [1]}), "expected an object with the fields pes, pixels_a_beat"),
    (lambda: Placement.from_json(PLACEMENTS[0].to_json() | {"more": 1}), "expected an object with the fields"),
    (lambda: Placement.from_json(PLACEMENTS[0].to_json() | {"pes": {"a": 1}}), "pes is"),
    (lambda: Placement.from_line("pe 16"), "placement is pe 16, expected a line such as 'pe 16,4; pixels"),
    (lambda: Placement.from_line(PLACEMENTS[0].line.replace("16,4", "9" * 4400)), "placement is pe 9999"),
    (lambda: Placement.from_line(PLACEMENTS[0].line.replace("16,4", "4\nmore")), "placement is pe 4 more"),
    (lambda: Placement.from_line(PLACEMENTS[0].line.replace("16,4", ",")), r"pes is \(\)"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refuses(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
