"""A front end for sound: settings of the integer filter bank that turns PCM samples into graded events.

`sim/frontend.py` says what it computes, step by step; `rtl/frontend.py` is the same in hardware. All settings are whole
numbers, so that both have one meaning everywhere. They are kept with the recordings that were made with them, and with
the networks that were trained on those.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from .. import checks
from ..bits import signed_bits, unsigned_bits
from ..errors import require, within

SAMPLE_BITS = 16
LARGEST_RATE = 1_000_000  # samples per second
TAPS = 4  # products of a filter: its input now and two samples ago, its output one and two samples ago
FEWEST_BANDS, MOST_BANDS = 4, 128
MOST_STAGES = 4
WIDEST = 32  # bits of a state: sums of products are then far from 64
LARGEST_COUNT_BITS = 8
CODES = ("up", "down")
SLOWEST = 8  # a filter's outputs lose `2**-SLOWEST` of their energy per sample, or more
SMALLEST_TAIL = 1e-12  # of an impulse response, where its sum is cut


@dataclass(frozen=True)
class FrontEnd:
    """Settings of a filter bank and of how its outputs become counts.

    rate, step
        Samples per second, and per step of the network.
    filters
        For each band the gain `g` and the feedback `a1`, `a2` of a band-pass filter, in units of `2**-fraction`:
        `y[t] = (g (u[t] - u[t-2]) + a1 y[t-1] + a2 y[t-2]) / 2**fraction`, rounded to nearest, ties up.
    stages
        How many such filters follow each other in each band.
    guard
        Bits below the samples' unit that the filters keep.
    mantissa
        Bits below the binary point of a logarithm to base 2. All that follows is in units of `2**-mantissa` octaves.
    least
        Smaller logarithms are heard as this one.
    change
        Counts are changes of a band's logarithm by `2**change` units, up and down, since it was last counted (level
        crossings): what all bands are louder by cancels out.
    bits
        Width of a count. A larger change is counted in the steps that follow.
    """

    rate: int
    step: int
    filters: tuple[tuple[int, int, int], ...]
    fraction: int = 14
    stages: int = 2
    guard: int = 2
    mantissa: int = 3
    least: int = 88
    change: int = 2
    bits: int = 4

    def __post_init__(self) -> None:
        with within("front end"):
            for name, low, high in (
                ("rate", 1, LARGEST_RATE),
                ("step", 1, 1 << 16),
                ("fraction", 4, 16),
                ("stages", 1, MOST_STAGES),
                ("guard", 0, 8),
                ("mantissa", 0, 6),
                ("least", 0, (64 << 6) - 1),
                ("change", 0, 10),
                ("bits", 1, LARGEST_COUNT_BITS),
            ):
                object.__setattr__(self, name, checks.whole(name, getattr(self, name), low, high))
            bank = checks.items("filters", self.filters, MOST_BANDS)
            require(len(bank) >= FEWEST_BANDS, "filters", len(bank), f"{FEWEST_BANDS} to {MOST_BANDS}")
            one = 1 << self.fraction
            found = []
            for band, entry in enumerate(bank):
                g, a1, a2 = checks.wholes(f"filters[{band}]", entry, -2 * one, 2 * one - 1, 3)
                require(0 < g <= one, f"filters[{band}] gain", g, f"1 to {one}")
                least = max(1, one >> SLOWEST) - one
                require(least <= a2 < 0, f"filters[{band}] a2", a2, f"{least} to -1: a filter that fades")
                rings = a1 * a1 < -4 * a2 * one
                require(rings, f"filters[{band}] a1", a1, f"less than 2 sqrt(-a2 * {one}) in size: a resonance")
                found.append((g, a1, a2))
            object.__setattr__(self, "filters", tuple(found))
            require(self.state_bits <= WIDEST, "filters", f"so loud that states need {self.state_bits} bits",
                    f"at most {WIDEST}: smaller gains or guard")  # fmt: skip
            require(self.least <= self.loudest, "least", self.least, f"at most {self.loudest}, the largest logarithm")

    @staticmethod
    def mel(
        rate: int = 8000, step: int = 128, bands: int = 32, low: float = 100, high: float = 3700, width: float = 1.5,
        **others: Any,
    ) -> FrontEnd:  # fmt: skip
        """Bands at equal distances on the mel scale from `low` to `high` Hz, `width` such distances wide.

        The gain of each filter at its centre is 1. `others` are the fields of `FrontEnd`.
        """
        with within("front end"):
            bands = checks.whole("bands", bands, FEWEST_BANDS, MOST_BANDS)
            low, high, width = (checks.real(*given) for given in (("low", low), ("high", high), ("width", width)))
            rate = checks.whole("rate", rate, 1, LARGEST_RATE)
            require(0 < low < high < rate / 2, "low and high", f"{low} and {high}", f"0 < low < high < {rate / 2} Hz")
            require(width > 0, "width", width, "above 0")
        fraction, stages = (others.get(name, _DEFAULTS[name]) for name in ("fraction", "stages"))
        first, last = _mel(low), _mel(high)
        edges = [_hertz(first + (last - first) * n / (bands + 1)) for n in range(bands + 2)]
        one, narrower = 1 << fraction, math.sqrt(2 ** (1 / stages) - 1)
        filters = []
        for below, centre, above in zip(edges, edges[1:], edges[2:], strict=False):
            angle = 2 * math.pi * centre / rate
            radius = math.exp(-math.pi * width * (above - below) / 2 / narrower / rate)
            a1, a2 = round(2 * radius * math.cos(angle) * one), round(-radius * radius * one)
            turn = complex(math.cos(angle), math.sin(angle))
            response = abs((1 - turn**-2) / (1 - a1 / one / turn - a2 / one / turn**2))
            filters.append((round(one / response), a1, a2))
        return FrontEnd(rate, step, tuple(filters), **others)

    @property
    def bands(self) -> int:
        return len(self.filters)

    @property
    def products(self) -> int:
        """Products of all filters for a sample."""
        return TAPS * self.stages * self.bands

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a step's counts, one channel for each of `CODES`; source `code * bands + band`."""
        return len(CODES), 1, self.bands

    @property
    def sources(self) -> int:
        return math.prod(self.shape)

    @property
    def largest(self) -> int:
        """Largest count."""
        return (1 << self.bits) - 1

    @cached_property
    def largest_states(self) -> tuple[int, ...]:
        """Proven for each stage: no output of any band is larger in size, whatever the samples are.

        An output is its filter's impulse response `h` applied to the input, plus that of the feedback alone, `p`,
        applied to the rounding errors, which are at most 1/2: `sum |h| * largest input + sum |p| / 2`.
        """
        sums = [_impulse_sums(g, a1, a2, 1 << self.fraction) for g, a1, a2 in self.filters]
        inputs = [float(1 << SAMPLE_BITS - 1 + self.guard)] * self.bands
        found = []
        for _ in range(self.stages):
            inputs = [h * u + p / 2 for (h, p), u in zip(sums, inputs, strict=True)]
            found.append(math.ceil(max(inputs) * (1 + 1e-9)))
        return tuple(found)

    @cached_property
    def state_bits(self) -> int:
        """Width of the filters' outputs, and of samples with their guard bits."""
        largest = max(*self.largest_states, 1 << SAMPLE_BITS - 1 + self.guard)
        return signed_bits(-largest, largest)

    @cached_property
    def coefficient_bits(self) -> int:
        numbers = [n for g, a1, a2 in self.filters for n in (g, -g, a1, a2)]
        return signed_bits(min(numbers), max(numbers))

    @cached_property
    def sum_bits(self) -> int:
        """Width of a filter's sum of products, with half a unit for the rounding."""
        inputs = (1 << SAMPLE_BITS - 1 + self.guard, *self.largest_states)
        most = max(
            2 * g * u + (abs(a1) - a2) * y
            for g, a1, a2 in self.filters
            for u, y in zip(inputs, self.largest_states, strict=False)
        )
        return signed_bits(-most, most + (1 << self.fraction - 1))

    @cached_property
    def loudness_bits(self) -> int:
        """Width of a band's loudness: the sum of the sizes of its outputs in a step."""
        return unsigned_bits(self.step * self.largest_states[-1])

    @property
    def loudest(self) -> int:
        """Largest logarithm of a loudness."""
        return (self.loudness_bits << self.mantissa) - 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"filters": [list(entry) for entry in self.filters]}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the settings, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @staticmethod
    def from_json(body: Any) -> FrontEnd:
        """Inverse of `to_json`; `UserError` names the field that is wrong."""
        given = checks.fields("front end", body, ("rate", "step", "filters"), _DEFAULTS)
        return FrontEnd(**given)


_DEFAULTS = {field.name: field.default for field in fields(FrontEnd) if field.name not in ("rate", "step", "filters")}


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _hertz(mel: float) -> float:
    return float(700 * (10 ** (mel / 2595) - 1))


def _impulse_sums(g: int, a1: int, a2: int, one: int) -> tuple[float, float]:
    """Bounds of `sum |h|` and `sum |p|`: of a filter's impulse response, and of its feedback's alone.

    `p[n] = r**n sin((n + 1) angle) / sin(angle)`: it is summed until the rest is at most `SMALLEST_TAIL`, which is
    added.
    """
    radius = math.sqrt(-a2 / one)
    sine = math.sqrt(1 - (a1 / one / (2 * radius)) ** 2)
    before, last, two_ago = 1.0, 0.0, 0.0  # p[n], p[n - 1], p[n - 2]
    sum_h, sum_p, size = 0.0, 0.0, 1 / sine  # size: largest that p[n] and all after it can be
    while size / (1 - radius) > SMALLEST_TAIL:
        sum_p += abs(before)
        sum_h += abs(before - two_ago)
        before, last, two_ago = (a1 * before + a2 * last) / one, before, last
        size *= radius
    tail = size / (1 - radius)
    return g / one * (sum_h + 2 * tail / radius**2), sum_p + tail
