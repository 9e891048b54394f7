"""Cases: a NIR file of a small network, and the spikes that its framework gives on seeded inputs.

A case NAME is `cases/NAME.nir`, by the framework's own export, and `cases/NAME.npz`:

- `framework`, and `convention`, a JSON object: what the file leaves open and its framework does not do by default;
- `input`, uint8 `[n, steps, ...]`;
- for each population `spikes_POPULATION`, uint8 `[n, steps, neurons]`, or `membranes_POPULATION`, float32.

Weights, biases and most thresholds are multiples of `UNIT`, so that no rounding of weights enters a comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FOLDER = Path(__file__).parent / "cases"
UNIT = 1 / 16
FRAMES, STEPS = 4, 20


class Grid:
    """Numbers of a case, all from one seed."""

    def __init__(self, name: str):
        self.generator = np.random.default_rng(list(name.encode()))

    def weights(self, *shape: int, low: int = -5, high: int = 8) -> np.ndarray:
        """float32, multiples of `UNIT` from `low` to `high` of them."""
        return (self.generator.integers(low, high + 1, shape) * UNIT).astype(np.float32)

    def between(self, low: float, high: float, *shape: int, unit: float = UNIT) -> np.ndarray:
        """float32, multiples of `unit`."""
        return (self.generator.integers(round(low / unit), round(high / unit) + 1, shape) * unit).astype(np.float32)

    def spikes(self, *shape: int, rate: float = 0.4) -> np.ndarray:
        """uint8 `[FRAMES, STEPS, *shape]`."""
        return (self.generator.random((FRAMES, STEPS, *shape)) < rate).astype(np.uint8)


def written(path: Path, graph: Any) -> None:
    """Write a NIR graph, and then its groups and arrays anew into a smaller file: `nir.write` spends 60 kB on 2 kB."""
    import nir

    large = path.with_suffix(".large")
    options = {"compression": None} if "compression" in signature(nir.write).parameters else {}
    nir.write(large, graph, **options)
    with h5py.File(large) as source, h5py.File(path, "w", libver=("v108", "v108")) as target:
        _copied(source, target)
    large.unlink()


def _copied(source: h5py.Group, target: h5py.Group) -> None:
    for name, value in source.items():
        if isinstance(value, h5py.Group):
            _copied(value, target.create_group(name))
        else:
            target.create_dataset(name, data=value[()], dtype=value.dtype)


@dataclass
class Case:
    """A network of a framework before it is run.

    convention
        Fields of the importer's convention that differ from the framework's default.
    exported
        Whether the framework's own export can write it, and means what the network does.
    """

    model: Any
    shape: tuple[int, ...]
    convention: dict[str, Any] = field(default_factory=dict)
    exported: bool = True


@dataclass(frozen=True)
class Framework:
    """How the cases of a framework are made.

    build
        For each case a function from a `Grid` to a `Case`.
    run
        From the model and inputs float32 `[n, steps, ...]` to the outputs of its populations, `[n, steps, ...]`.
    export
        From the model and the shape of its input to a NIR graph.
    """

    name: str
    build: dict[str, Callable[[Grid], Case]]
    run: Callable[[Any, np.ndarray], dict[str, np.ndarray]]
    export: Callable[[Any, tuple[int, ...]], Any]

    def made(self, name: str) -> tuple[Case, dict[str, np.ndarray]]:
        """The case `name`, and the arrays of its `.npz`."""
        grid = Grid(f"{self.name}-{name}")
        case = self.build[name](grid)
        given = grid.spikes(*case.shape)
        arrays: dict[str, np.ndarray] = {"input": given}
        for population, values in self.run(case.model, given.astype(np.float32)).items():
            flat = np.asarray(values).reshape(FRAMES, STEPS, -1)
            is_whole = bool((flat == np.rint(flat)).all())
            arrays[f"{'spikes' if is_whole else 'membranes'}_{population}"] = flat.astype(
                np.uint8 if is_whole else np.float32
            )
        arrays["framework"] = np.array(self.name)
        arrays["convention"] = np.array(json.dumps(case.convention))
        return case, arrays

    def record(self, folder: Path) -> None:
        """Write the files of all cases that can be exported."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.build:
            case, arrays = self.made(name)
            for key, values in arrays.items():
                if key.startswith("spikes_") and not 0.02 < values.mean() < 1.6:
                    raise ValueError(f"{self.name}-{name}: {key} are {values.mean():.3f} in the mean")
            if case.exported:
                np.savez_compressed(folder / f"{self.name}-{name}.npz", **arrays)
                written(folder / f"{self.name}-{name}.nir", self.export(case.model, case.shape))
