"""`gradrtl sweep`: quantisation settings against accuracy on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import UserError
from .explore import CHECKPOINTS
from .options import bar, cluster_options, images_option, parse_numbers, progress_lines
from .output import command, figures

LISTS = (
    ("method", "weights", "weights, search or qat: how the scales are chosen."),
    ("steps", None, "Time steps T per image.  [default: as trained]"),
    ("input-bits", "8", "Bits of a pixel that are used, each 1 to 8."),
    ("per-channel", "no", "no, yes: a scale for each output channel."),
    ("membrane-fraction", None, "Extra low bits of the membrane.  [default: as of quantize]"),
    ("membrane-bits", None, "Widths of saturating membranes.  [default: exact]"),
    ("decay-bits", None, "Fraction bits of decays.  [default: as of quantize]"),
    ("connectivity", None, "Upper limits on the fraction of non-zero weights.  [default: none]"),
    ("epochs", None, "Passes of fine-tuning, for the method qat.  [default: 10]"),
)


def _lists(function: Any) -> Any:
    for name, default, told in reversed(LISTS):
        function = click.option(f"--{name}", default=default, help=f"To try: {told}")(function)
    return function


@command()
@click.argument("checkpoints", nargs=-1, type=click.Path())
@click.option("--bits", default="3,4,6,8", help="Weight bits to try, each 2 to 8.")
@_lists
@cluster_options
@images_option
@click.option(
    "--out",
    default="build/sweep",
    type=click.Path(path_type=Path),
    help="Folder of the sweep. An interrupted sweep resumes, and several processes may share it.",
)
def sweep(checkpoints, bits, cluster, folder, out, **lists) -> None:
    """Quantise CHECKPOINTS (default: the committed ones) in every combination of the settings; a table of accuracies.

    Each setting takes values with commas between them, and is that of `gradrtl quantize`. Accuracies are those of the
    training images that were held out, so settings can be chosen by them; test images are not used. A combination
    that a checkpoint cannot have is noted, and the sweep goes on. Writes OUT/results.csv and OUT/results.json.
    """
    from ..quantize.network import WEIGHT_BITS
    from ..steps.sweep import front, settings
    from ..steps.sweep import sweep as run

    given = {name: parsed(name, words) for name, words in lists.items() if words is not None}
    asked = settings(bits=parse_numbers("bits", bits, WEIGHT_BITS), **given)
    checkpoints = checkpoints or CHECKPOINTS
    with bar("sweep", len(dict.fromkeys(checkpoints)) * len(asked)) as advance:
        rows, refused = run(checkpoints, asked, folder, out, cluster, advance, progress_lines())
    best = front(rows)
    figures(
        results=[row.values for row in rows],
        front=[row.values for row in best],
        refused=[one.values for one in refused],
        folder=out,
    )
    for one in refused:
        click.echo(f"note: not quantised: {one}")
    if not rows:
        raise UserError(f"none of {len(refused)} combinations can be quantised; the first: {refused[0]}")
    click.echo("  bits of weights  held-out accuracy")
    for row in sorted(rows, key=lambda row: (row.weight_memory, -row.accuracy)):
        mark = "*" if row in best else " "
        click.echo(
            f"{mark} {row.weight_memory:15,}  {100 * row.accuracy:15.2f} %  {Path(row.checkpoint).stem}, {row.setting}"
        )
    click.echo(f"*: no other has fewer bits and as many right; wrote {out / 'results.csv'} and {out / 'results.json'}")


def parsed(name: str, words: str) -> list[Any]:
    """The values of an option: words, yes and no, fractions or whole numbers."""
    kinds: dict[str, Callable[[str], Any]] = {
        "method": str,
        "per_channel": {"no": False, "yes": True}.__getitem__,
        "connectivity": float,
    }
    try:
        return [kinds.get(name, int)(word.strip()) for word in words.split(",")]
    except (ValueError, KeyError):
        accepted = "no, yes" if name == "per_channel" else "numbers with commas between them"
        raise UserError.of(name.replace("_", "-"), words, accepted) from None
