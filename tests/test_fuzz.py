"""A short run of `make fuzz`."""

from __future__ import annotations

from fuzz import fuzz


def test_damaged_files_are_refused_in_one_line_or_read():
    accepted = fuzz(150)
    assert accepted["network"] < 150
