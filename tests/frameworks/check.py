"""`python tests/frameworks/check.py NAME`: the cases of a framework, in an environment that has it (`make frameworks`).

They are made anew: their arrays must be those of the committed files. Then every case is imported from its file, and
straight from the framework's modules where `gradrtl.model.importing` can, those included that the framework's own
export cannot write. Float reference and integers must give every spike. `--record` writes the committed files.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from cases import FOLDER, Framework


def same_files(framework: Framework, folder: Path) -> list[str]:
    """What differs between the cases in `folder` and the committed ones."""
    made, kept = ({path.name for path in where.glob(f"{framework.name}-*")} for where in (folder, FOLDER))
    told = [f"{name}: only one of both" for name in sorted(made ^ kept)]
    for name in sorted(made & kept):
        arrays = _arrays(folder / name), _arrays(FOLDER / name)
        if arrays[0].keys() != arrays[1].keys():
            told.append(f"{name}: other arrays")
        told += [f"{name}: {key} differs" for key in arrays[0] if not _same(arrays[0][key], arrays[1].get(key))]
    return told


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        with np.load(path) as found:
            return {name: found[name] for name in found.files}
    arrays: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    edges = arrays.pop("node/edges")  # their order is that of a set
    return {**arrays, "edges": np.array(sorted(map(tuple, edges.astype(str))))}


def _same(first: Any, second: Any) -> bool:
    if np.asarray(first).dtype.kind == "f":
        return np.shape(first) == np.shape(second) and np.allclose(first, second, rtol=1e-6, equal_nan=True)
    return np.array_equal(first, second)


def importer(framework: Framework) -> Callable[[Any, tuple[int, ...]], Any] | None:
    """What makes records of a framework's modules; None where there is nothing."""
    from gradrtl.model import importing

    return getattr(importing, f"from_{framework.name}", None)


def main() -> int:
    """Check a framework; the number of cases that fail."""
    from comparing import differences, graph_of

    from gradrtl.errors import UserError
    from gradrtl.model.importing.hdf5 import read

    warnings.simplefilter("ignore")  # the frameworks' own
    name, *options = sys.argv[1:]
    framework = import_module(f"{name}_cases").FRAMEWORK
    if "--record" in options:
        framework.record(FOLDER)
        return 0
    total = wrong = 0

    def tell(what: str, found: list[str]) -> None:
        nonlocal total, wrong
        total += 1
        wrong += bool(found)
        print(f"{what}: {'; '.join(found) or 'equal'}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        framework.record(Path(folder))
        tell(f"{name}: files", same_files(framework, Path(folder)))
    for kind in framework.build:
        case, arrays = framework.made(kind)
        several = any(key.startswith("spikes_") and values.max() > 1 for key, values in arrays.items())
        sources = {"file": lambda kind=kind: read(FOLDER / f"{name}-{kind}.nir")} if case.exported else {}
        if (straight := importer(framework)) is not None:
            sources["modules"] = lambda case=case, straight=straight: straight(case.model, case.shape)
        for what, source in sources.items():
            try:
                found = differences(graph_of(source(), arrays), arrays, not several)
            except UserError as error:
                found = [str(error)]
            tell(f"{name}-{kind} from its {what}", found)
    print(f"{total - wrong} passed, {wrong} failed")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
