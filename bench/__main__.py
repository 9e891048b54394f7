"""`python -m bench`: measures every figure of the accelerator and the simulators in one run.

Writes `build/bench/figures.json` and `figures.md`. Run it from the project's folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gradrtl.errors import UserError
from gradrtl.model import data
from gradrtl.quantize.network import QuantizedNetwork

from . import accelerator, baseline, command_line, figures, rtl, simulator

FOLDER = Path("build/bench")


@click.command()
@click.option("--network", "path", default="networks/mnist-5pct.npz", show_default=True, help="Network to measure.")
@click.option("--images", default="data/mnist", show_default=True, help="Folder of IDX files.")
@click.option("--limit", default=10_000, show_default=True, help="Test images.")
@click.option("--few", default=1000, show_default=True, help="Test images for the slow libraries.")
@click.option("--rounds", default=5, show_default=True, help="Timed rounds; the shortest time counts.")
@click.option("--counted-only", is_flag=True, help="Without timed figures.")
@click.option("--readme", type=click.Path(path_type=Path), help="Write the last run's table into this page and stop.")
@click.option("--check", is_flag=True, help="Compare counted figures with the baseline and stop.")
@click.option("--update-baseline", is_flag=True, help="Write a new baseline and stop.")
def main(
    path: str,
    images: str,
    limit: int,
    few: int,
    rounds: int,
    counted_only: bool,
    readme: Path | None,
    check: bool,
    update_baseline: bool,
) -> None:
    """Measure, write build/bench/, print the table."""
    if update_baseline:
        baseline.update()
    elif check:
        lines = baseline.complaints()
        click.echo("\n".join(lines) or "counted figures are those of the baseline, or better")
        sys.exit(1 if lines else 0)
    elif readme:
        figures.put_into(readme, figures.markdown(*figures.read(FOLDER / "figures.json")))
    else:
        network = QuantizedNetwork.load(path)
        training, test = data.load(images)
        frames = test.frames[:limit]
        found = accelerator.figures(network, frames, training.frames[:limit])
        if not counted_only:
            found += simulator.figures(network, frames, few, rounds)
            found += rtl.figures(network, frames, rounds)
            found += command_line.figures(rounds)
        source = f"`python -m bench`, {Path(path).name} ({network.digest[:12]}), {len(frames):,} test images."
        figures.write(found, FOLDER, source)
        click.echo((FOLDER / "figures.md").read_text())


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (UserError, click.ClickException) as error:
        sys.exit(f"error: {error}")
    except click.Abort:
        sys.exit(130)
