"""Compiled loops on several threads. What they compute is tested in `test_model_fused.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradrtl.model import kernels


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("images", [1, 2, 10])
def test_parts_cover_all(images: int, threads: int) -> None:
    parts: list[tuple[int, int]] = []
    kernels.in_parts(lambda first, last: parts.append((first, last)), images, 10**6)
    assert sorted(n for part in parts for n in range(*part)) == list(range(images))
    assert len(parts) == min(images, threads)


def test_a_part_that_fails_is_heard_of(threads: int) -> None:
    def kernel(first: int, last: int) -> None:
        raise ValueError(f"{first}:{last}")

    with pytest.raises(ValueError, match="0:"):
        kernels.in_parts(kernel, 1000, 10**6)
