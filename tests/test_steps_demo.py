"""The report of a run is written of the files that the run has made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gradrtl.errors import UserError
from gradrtl.steps.demo import NETWORK, report
from gradrtl.steps.run import Run, sha256

ROOT = Path(__file__).parents[1]


def test_a_report_of_other_files_is_refused(tmp_path: Path) -> None:
    shutil.copy(ROOT / "networks/mnist-1pct.npz", tmp_path / NETWORK)
    run = Run(tmp_path)
    run.manifest |= {"settings": {"wanted": {}}, "artifacts": {NETWORK: sha256(tmp_path / NETWORK)}, "figures": {}}
    run.write()
    shutil.copy(ROOT / "networks/mnist-2pct.npz", tmp_path / NETWORK)
    with pytest.raises(UserError, match=r"network\.npz, expected the one that `gradrtl demo` has made; run it again"):
        report(tmp_path)
    (tmp_path / NETWORK).unlink()
    with pytest.raises(UserError, match=r"network\.npz, expected the one that `gradrtl demo` has made; run it again"):
        report(tmp_path)
    assert not (tmp_path / Run.REPORT).exists()
