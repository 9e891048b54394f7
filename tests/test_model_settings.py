"""Fields of configurations: types and ranges are checked when an object is made, and said in one line."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model.config import TrainConfig
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.settings import above, at_least, below, between, check, expected, like, one_of, setting, settings
from gradrtl.quantize.config import QatConfig


@dataclass(frozen=True)
class Config:
    whole: int = setting(2, "A whole number.", at_least(1))
    some: float = setting(0.5, "A fraction.", above(0, 1))
    open_end: float = setting(0.5, "A fraction.", below(1, 0.25))
    width: float | None = setting(None, "A width.", between(0, 3, " units"))
    way: str = setting("a", "A choice.", one_of(("a", "b")))
    flag: bool = setting(False, "A switch.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Other:
    whole: int = like(Config, "whole", default=7)
    some: float = like(Config, "some")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"whole": 0}, "whole is 0, expected 1 or above"),
        ({"whole": 1.5}, "whole is 1.5, expected a whole number: 1 or above"),
        ({"whole": True}, "whole is True, expected a whole number"),
        ({"whole": "3"}, "whole is 3, expected a whole number"),
        ({"whole": None}, "whole is None, expected a whole number"),
        ({"some": 0}, "some is 0.0, expected above 0, at most 1"),
        ({"some": 1.01}, "some is 1.01"),
        ({"some": float("nan")}, "some is nan"),
        ({"some": "x"}, "some is x, expected a number"),
        ({"open_end": 1}, "open_end is 1.0, expected at least 0.25, below 1"),
        ({"open_end": 0.2}, "open_end is 0.2"),
        ({"width": float("inf")}, "width is inf, expected a number: 0 to 3 units, or None"),
        ({"width": -1}, "width is -1.0"),
        ({"way": "c"}, "way is c, expected one of a, b"),
        ({"flag": 1}, "flag is 1, expected True or False"),
    ],
)
def test_values_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Config(**given)


def test_numbers_become_pythons_own() -> None:
    made = Config(np.int64(3), 1, np.float32(0.5), np.float64(2), "b", np.bool_(True))
    assert [type(getattr(made, field.name)) for field in fields(made)] == [int, float, float, float, str, bool]
    assert made == Config(3, 1.0, 0.5, 2.0, "b", True)


def test_a_field_like_another() -> None:
    assert (Other().whole, Other().some) == (7, 0.5)
    with pytest.raises(UserError, match="whole is 0"):
        Other(whole=0)
    known = {entry.name: entry for entry in settings(Config)}
    assert settings(Other)[1] == replace(known["some"])
    assert (known["width"].optional, known["whole"].optional) == (True, False)
    assert expected(known["width"]) == "0 to 3 units, or None"


@pytest.mark.parametrize("config", [TrainConfig, QatConfig, ReluConfig])
def test_every_field_has_a_meaning(config: type) -> None:
    assert [entry.name for entry in settings(config)] == [field.name for field in fields(config)]
    assert all(entry.meaning.endswith(".") for entry in settings(config))
    assert not [entry.name for entry in settings(config) if "None" in entry.meaning], "a word of Python"
