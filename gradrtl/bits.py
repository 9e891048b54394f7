"""Widths of integers: how many bits a range needs."""

from __future__ import annotations


def signed_bits(low: int, high: int) -> int:
    """Fewest bits of a two's complement number that holds every integer in `low..high` (1 for 0..0)."""
    return 1 + max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length())


def unsigned_bits(largest: int) -> int:
    """Width of an unsigned number up to `largest`, at least 1."""
    return max(1, int(largest).bit_length())


def lane_bits(lanes: int) -> int:
    """Low bits of an address that name one of `lanes` lanes (0 for a single lane)."""
    return (lanes - 1).bit_length()
