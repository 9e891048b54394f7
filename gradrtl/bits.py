"""Widths of integers: how many bits a range needs."""

from __future__ import annotations


def signed_bits(low: int, high: int) -> int:
    """Fewest bits of a two's complement number that holds every integer in `low..high` (1 for 0..0).

    >>> signed_bits(-8, 7), signed_bits(-8, 8), signed_bits(0, 0)
    (4, 5, 1)
    """
    return 1 + max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length())


def unsigned_bits(largest: int) -> int:
    """Width of an unsigned number up to `largest`, at least 1.

    >>> unsigned_bits(255), unsigned_bits(256), unsigned_bits(0)
    (8, 9, 1)
    """
    return max(1, int(largest).bit_length())


def lane_bits(lanes: int) -> int:
    """Number of low address bits that select one of `lanes` lanes (0 for a single lane).

    >>> lane_bits(16), lane_bits(10), lane_bits(1)
    (4, 4, 0)
    """
    return (lanes - 1).bit_length()


def signed_range(bits: int) -> tuple[int, int]:
    """Smallest and largest two's complement number of `bits` bits."""
    return -(1 << bits - 1), (1 << bits - 1) - 1
