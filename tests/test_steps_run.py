"""The folder of a run: a step runs again for a reason, and a manifest speaks of the files that are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gradrtl.steps import run as module
from gradrtl.steps.run import Run, Step, sha256


def step(folder: Path, text: str) -> Step:
    def work() -> dict[str, str]:
        (folder / "made").write_text(text)
        return {"text": text}

    return Step("write", "made", {"text": text}, (), ("gradrtl.line",), work)


def test_an_unchanged_step_is_not_repeated(tmp_path: Path) -> None:
    lines: list[str] = []
    first = step(tmp_path, "one")
    for _ in range(2):
        assert Run(tmp_path).do(first, lines.append) == {"text": "one"}
    assert lines == ["write ...", f"write: unchanged, {tmp_path / 'made'}"]
    (tmp_path / "made").write_text("damaged")
    assert Run(tmp_path).do(first) == {"text": "one"}
    assert (tmp_path / "made").read_text() == "one"
    Run(tmp_path).do(step(tmp_path, "two"))
    assert (tmp_path / "made").read_text() == "two"


@pytest.mark.parametrize(("what", "edited"), [("sources", "edited"), ("libraries", {"torch": "1.0"})])
def test_a_step_is_repeated_with_other_sources_and_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, edited: object
) -> None:
    lines: list[str] = []
    Run(tmp_path).do(step(tmp_path, "one"), lines.append)
    monkeypatch.setattr(module, what, lambda *names: edited)
    Run(tmp_path).do(step(tmp_path, "one"), lines.append)
    assert lines == ["write ...", "write ..."]


def test_what_was_said_of_the_whole_run_ends_when_a_step_begins(tmp_path: Path) -> None:
    run, first = Run(tmp_path), step(tmp_path, "one")
    run.do(first)
    run.manifest |= {"figures": {"mismatches": 0}, "artifacts": {"made": sha256(tmp_path / "made")}}
    run.write()
    (tmp_path / Run.REPORT).write_text("pass")
    Run(tmp_path).do(first)
    assert Run(tmp_path).manifest["figures"] == {"mismatches": 0}, "nothing was done"
    assert (tmp_path / Run.REPORT).exists()

    def killed() -> dict[str, str]:
        (tmp_path / "made").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path).do(replace(first, settings={"text": "two"}, work=killed))
    assert json.loads((tmp_path / Run.NAME).read_text()).keys() == {"steps"}
    assert not (tmp_path / Run.REPORT).exists()
