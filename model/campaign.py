"""The committed checkpoints and the table of recipes: `python -m gradrtl.model.campaign [NAME ...]`.

Runs one training after another and leaves out those that are done, so it may be interrupted at will. Each run has a
folder under `build/campaign/` with its `checkpoint.npz`; `table.md` there compares the recipes. Test images are looked
at once, after a run has ended; settings were chosen on the validation images.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch

from . import data
from .checkpoint import Checkpoint
from .config import TrainConfig
from .errors import require
from .networks import network_of
from .train import evaluate, train

OUT = Path("build/campaign")
SEEDS = (0, 1, 2)
EPOCHS = 20
MILD = {"rotation": 5.0, "shift": 0.03}  # augmentation for the sparsest networks

# recipe name, wanted connectivity -> what differs from the default configuration
SETTINGS: dict[str, dict[str, dict]] = {
    "gradr-quota": {
        "5": {"connectivity": 0.05},
        "2": {"connectivity": 0.02},
        "1": {"connectivity": 0.01, **MILD},
    },
    "gradr": {  # here alpha is given and the connectivity is what comes out
        "a": {"alpha": 0.1},
        "b": {"alpha": 0.2},
        "c": {"alpha": 0.4, **MILD},
    },
    "magnitude": {
        "5": {"connectivity": 0.05},
        "2": {"connectivity": 0.02},
        "1": {"connectivity": 0.01, **MILD},
    },
}


def runs() -> dict[str, TrainConfig]:
    """All runs by name, `<recipe>-<percent>-s<seed>`, in the order in which they are made."""
    base = TrainConfig(epochs=EPOCHS, connectivity=None, recipe="gradr", precision="bfloat16")
    return {
        f"{recipe}-{percent}-s{seed}": replace(base, recipe=recipe, seed=seed, **settings)
        for seed in SEEDS
        for recipe, settings_of in SETTINGS.items()
        for percent, settings in settings_of.items()
    }


def main(names: list[str]) -> None:
    """Make the runs called `names`, or all, then the table of those that are done."""
    torch.set_num_threads(1)
    everything = runs()
    for name in names:
        require(name in everything, "run", name, ", ".join(everything))
    training, test = data.load_idx("data/mnist")
    for name in names or everything:
        folder = OUT / name
        path = folder / "checkpoint.npz"
        if path.exists():
            continue
        command = f"python -m gradrtl.model.campaign {name}"
        made = train(everything[name], training, folder, command=command)
        figures = {**made.figures, "test": evaluate(network_of(made), test).accuracy}
        replace(made, figures=figures).save(path)
        (folder / "resume.pt").unlink()
        print(name, json.dumps(figures), flush=True)
        (OUT / "table.md").write_text(table())


def table() -> str:
    """Markdown table of all finished runs: mean and standard deviation over the seeds."""
    lines = [
        "| recipe | connectivity | without dead neurons | validation | test | seeds | epochs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe, settings_of in SETTINGS.items():
        for percent in settings_of:
            paths = [OUT / f"{recipe}-{percent}-s{seed}" / "checkpoint.npz" for seed in SEEDS]
            done = [Checkpoint.load(path) for path in paths if path.exists()]
            if done:
                columns = [
                    _spread([100 * checkpoint.figures[key] for checkpoint in done])
                    for key in ("connectivity", "useful_connectivity", "validation", "test")
                ]
                lines.append(f"| {recipe} | {' | '.join(columns)} | {len(done)} | {done[0].config['epochs']} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f} %"


if __name__ == "__main__":
    main(sys.argv[1:])
