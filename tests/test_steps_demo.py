"""What a run would refuse it refuses at once; its report is written of the files that it has made."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradrtl.errors import UserError
from gradrtl.model.data import Dataset, load
from gradrtl.steps.demo import NETWORK, Settings, report
from gradrtl.steps.place import Wanted
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


@pytest.fixture(scope="module")
def images() -> tuple[Dataset, Dataset]:
    return load(ROOT / "data/mnist")


SETTINGS = Settings("data/mnist", 0.05, epochs=1, fine_tuning=1, bits=4, wanted=Wanted(), images=2, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wanted": Wanted(stream=True)}, "kind is static, expected spikes or graded in a stream"),
        ({"wanted": Wanted(cancel=True)}, "cancel is True, expected False"),
        ({"wanted": Wanted(pes="1,2,3")}, "pe is 1,2,3, expected at most 2 numbers"),
        ({"wanted": Wanted(pes="1,2,3", device="up5k")}, "pe is 1,2,3, expected at most 2 numbers"),
        ({"fine_tuning": -1}, "fine-tuning: epochs is -1, expected 0 or above"),
        ({"images": 0}, "images is 0, expected 1 to 10000"),
        ({"bits": 1}, "weight_bits is 1"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused_at_once(
    images: tuple[Dataset, Dataset], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        replace(SETTINGS, **changes).check(*images)
    assert message in str(error.value)


@pytest.mark.parametrize("wanted", [Wanted(), Wanted("16,auto"), Wanted(device="up5k"), Wanted("4,2", "ecp5-25")])
def test_what_can_be_built_is_not_refused(images: tuple[Dataset, Dataset], wanted: Wanted) -> None:
    replace(SETTINGS, wanted=wanted).check(*images)
