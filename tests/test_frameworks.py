"""Networks of other frameworks: files and spikes that they made themselves, against the importer.

`make frameworks` makes the cases again in environments that have the frameworks, and imports from their modules too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gradrtl.errors import UserError
from gradrtl.model.importing.hdf5 import read
from gradrtl.steps.importing import import_nir, load_samples

FOLDER = Path(__file__).parent / "frameworks"
sys.path.insert(0, str(FOLDER))
import comparing  # noqa: E402
import rounding  # noqa: E402

CASES = sorted(path.stem for path in (FOLDER / "cases").glob("*.nir"))
SEVERAL = [name for name in CASES if name.endswith("multi")]


@pytest.mark.parametrize("name", CASES)
def test_every_spike_is_the_framework_s(name):
    arrays = comparing.arrays_of(FOLDER / "cases" / f"{name}.npz")
    graph = comparing.graph_of(read(FOLDER / "cases" / f"{name}.nir"), arrays)
    assert comparing.differences(graph, arrays, with_integers=name not in SEVERAL) == []


@pytest.mark.parametrize("name", sorted({*CASES} - {*SEVERAL}))
def test_fractional_bits_chosen_by_the_import_are_enough(name):
    wrong, positions = rounding.wrong_spikes(name, None)
    assert positions > 0
    assert wrong == (2 if name == "spyx-rcuba" else 0)  # a membrane within a rounding of its threshold


@pytest.mark.parametrize("name", SEVERAL)
def test_several_spikes_in_a_step_are_refused(name):
    path = FOLDER / "cases" / f"{name}.nir"
    arrays = comparing.arrays_of(path.with_suffix(".npz"))
    graph = comparing.graph_of(read(path), arrays)
    with pytest.raises(UserError, match=r"spikes in a step is [2-9], expected 1"):
        import_nir(
            read(path),
            graph.convention,
            lambda steps: comparing.Asked(steps),
            comparing.FORMATS,
            lambda graph: load_samples(graph, "spikes", None, None, path.with_suffix(".npz")),
        )


def test_the_folder_is_small_and_whole():
    files = list((FOLDER / "cases").iterdir())
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert {path.stem for path in files if path.suffix == ".npz"} == set(CASES)
    frameworks = {name.partition("-")[0] for name in CASES}
    assert frameworks == {"snntorch", "norse", "spikingjelly", "sinabs", "rockpool", "spyx"}


def test_a_difference_is_told():
    arrays = comparing.arrays_of(FOLDER / "cases" / "snntorch-leaky.npz")
    arrays["spikes_lif1"][0, 3, 5] ^= 1
    graph = comparing.graph_of(read(FOLDER / "cases" / "snntorch-leaky.nir"), arrays)
    assert comparing.differences(graph, arrays) == ["lif1: 1 of 1280 in floats", "lif1: 1 of 1280 in integers"]
