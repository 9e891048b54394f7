"""A short run of `make fuzz`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fuzz
import pytest

from gradrtl.cluster import Cluster
from gradrtl.errors import UserError


def test_damaged_files_are_refused_in_one_line_or_read(tmp_path: Path) -> None:
    found = fuzz.fuzz(1500)
    assert sum(sum(counted.values()) for counted in found.values()) >= 1500
    assert all(counted["refused"] for counted in found.values())


def test_every_loader_accepts_its_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is looked at from a file that is read: one that is always refused would find nothing."""
    made = fuzz.targets

    def spoilt(folder: Path) -> dict[str, fuzz.Target]:
        every = made(folder)
        every["checksums"] = replace(every["checksums"], whole=b"0" * 64 + b"  nothing\n")
        return every

    monkeypatch.setattr(fuzz, "targets", spoilt)
    with pytest.raises(UserError, match="SHA256SUMS line 1 is nothing"):
        fuzz.fuzz(60)


def test_an_interrupted_campaign_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "PIECE", 4)
    notes = tmp_path / "found.json"
    whole = fuzz.fuzz(60)
    numbers: list[int] = []
    original = fuzz.run

    def run(*given) -> bool:
        numbers.append(given[-1])
        if len(numbers) == 30:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(fuzz, "run", run)
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fuzz.fuzz(60, notes=notes)
    kept = sum(line["accepted"] + line["refused"] for line in map(json.loads, notes.read_text().splitlines()))
    assert 25 < kept < 30
    assert fuzz.fuzz(60, notes=notes) == whole
    assert len(numbers) == 30 + sum(sum(counted.values()) for counted in whole.values()) - kept


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "PIECE", 4)
    assert fuzz.fuzz(80, notes=tmp_path / "found.jsonl", where=Cluster(2)) == fuzz.fuzz(80)
