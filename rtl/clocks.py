"""The clock of a board: settings of its PLL for a frequency. Frequencies are in MHz."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import inf

from ..errors import UserError, require

SAME = 0.001  # a clock is made if the PLL comes as close as this: 70.833 stands for 70.8333...


@dataclass(frozen=True)
class Settings:
    """Factors of a PLL: its reference is the oscillator divided by `divide`, `multiply` is in the feedback, and `post`
    divides its VCO. `clock`: what it makes.
    """

    clock: float
    divide: int = 1
    multiply: int = 1
    post: int = 1


@dataclass(frozen=True)
class Pll:
    """What a kind of PLL can do: lowest and highest frequencies, and factors.

    `feeds_output`: its output is fed back, and not its VCO. Then the output is `oscillator / divide * multiply`, and
    the VCO is `post` times as fast; else the output is `oscillator / divide * multiply / post`.
    """

    reference: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]
    multiply: range
    post: tuple[int, ...]
    feeds_output: bool

    def settings(self, oscillator: float, clock: float) -> Settings:
        """Settings for `clock`, those with the VCO in the middle of its range.

        Raises `UserError` for a clock that this PLL can't make, and names the nearest two.
        """
        require(0 < clock < inf, "clock", clock, "MHz, a number above 0")
        made = list(self._all(oscillator))
        close = [one for one in made if abs(one.clock - clock) <= SAME]
        if not close:
            below = max((one.clock for one in made if one.clock < clock), default=None)
            above = min((one.clock for one in made if one.clock > clock), default=None)
            near = " or ".join(f"{found:.6g}" for found in (below, above) if found is not None)
            accepted = f"{near}, the nearest that the PLL makes of {oscillator:g} MHz"
            raise UserError(f"clock is {clock:g} MHz, expected {accepted}")
        return min(close, key=lambda one: (abs(one.clock - clock), abs(self._vco(oscillator, one) - sum(self.vco) / 2)))

    def _vco(self, oscillator: float, made: Settings) -> float:
        return oscillator / made.divide * made.multiply * (made.post if self.feeds_output else 1)

    def _all(self, oscillator: float) -> Iterator[Settings]:
        """Everything that can be made of `oscillator`."""
        dividers = range(1, int(oscillator / self.reference[0]) + 1)
        for divide in (divide for divide in dividers if oscillator / divide <= self.reference[1]):
            for multiply, post in product(self.multiply, self.post):
                fed = oscillator / divide * multiply
                made = Settings(fed if self.feeds_output else fed / post, divide, multiply, post)
                if _within(self._vco(oscillator, made), self.vco) and _within(made.clock, self.output):
                    yield made


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


# EHXPLLL and SB_PLL40: limits as in `ecppll` of Project Trellis and `icepll` of Project IceStorm.
ECP5 = Pll((3.125, 400), (400, 800), (10, 400), range(1, 81), tuple(range(1, 129)), feeds_output=True)
ICE40 = Pll((10, 17), (533, 1066), (16, 275), range(1, 129), (1, 2, 4, 8, 16, 32, 64), feeds_output=False)
