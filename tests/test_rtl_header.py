"""The header of a Verilog file: what is written is read back, and a mismatch is told in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_cases import case

from gradrtl.errors import UserError
from gradrtl.quantize.placement import Placement
from gradrtl.rtl import header
from gradrtl.rtl.mapping import map_network

NETWORK = case(1).network
LAYERS = len(NETWORK.layers)
PLACEMENT = Placement((2,) * LAYERS, 8, 5, 6, (0,))
MAPPING = map_network(NETWORK, PLACEMENT)


def test_what_is_written_is_read_back():
    found = header.read(header.write(MAPPING, "gradrtl  generate\nx") + "module gradrtl; endmodule\n")
    made = header.Header(found.version, NETWORK.digest, MAPPING.digest, PLACEMENT, command="gradrtl generate x")
    assert found == made
    assert found.version
    header.check(found, MAPPING)


def test_a_file_may_say_nothing():
    assert header.read("module gradrtl; endmodule\n") == header.Header()
    header.check(header.Header(), MAPPING)


def test_lines_behind_the_header_do_not_count():
    assert header.read("\n" * header.LINES + header.write(MAPPING, "")) == header.Header()


def test_a_damaged_placement_is_named():
    text = header.write(MAPPING, "").replace("queue depth 5;", "queue depth 5000;")
    with pytest.raises(UserError, match="queue_depth is 5000"):
        header.read(text)


ROUNDED = tuple(np.arange(1.0, layer.sources + 1) ** 3 for layer in NETWORK.layers)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "0" * 64}, "made from network 000000000000, the one given is " + NETWORK.digest[:12]),
        (
            {"placement": replace(PLACEMENT, queue_depth=16, strided=())},
            "queue_depth is 16 in the file, 5 is asked for; strided is none in the file, 0 is asked for",
        ),
        ({"mapping": "0" * 64, "version": "0.1.0"}, "made by version 0.1.0, this is "),
        ({"mapping": map_network(NETWORK, PLACEMENT, ROUNDED).digest}, "other event rates"),
        ({"mapping": "0" * 64, "placement": None}, "does not tell its placement"),
    ],
)
def test_a_mismatch_is_told_in_words(change, words):
    found = replace(header.read(header.write(MAPPING, "")), **change)
    with pytest.raises(UserError, match="does not belong to this network and placement: .*" + words):
        header.check(found, MAPPING)
