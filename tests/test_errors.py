"""The error of a user's mistake is one line, whatever it tells of."""

from __future__ import annotations

import pickle

import pytest

from gradrtl.errors import UserError, within


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("two\nlines", "two lines"),
        ("two\r\nlines", "two  lines"),
        ("a\ttab", "a tab"),
        ("colours \x1b[1m", "colours ?[1m"),
        ("a  name with spaces", "a  name with spaces"),
        ("no UTF-8: \udcff", "no UTF-8: ?"),
    ],
)
def test_a_message_is_one_line(message, told):
    assert str(UserError(message)) == told
    assert str(pickle.loads(pickle.dumps(UserError(message)))) == told, "as a worker hands it over"


def test_a_value_and_a_place_are_on_that_line():
    with pytest.raises(UserError, match=r"^a file: bits is 1 2\.\.\., expected less$"), within("a\nfile"):
        raise UserError.of("bits", "1\n  2...", "less")
    assert len(str(UserError.of("bits", "1" * 1000, "less"))) < 250
