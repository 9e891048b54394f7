"""`gradrtl explore`: a sweep of PEs, weight bits and connectivity."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ..errors import UserError, require
from .options import (
    bar,
    beat_option,
    cluster_options,
    images_option,
    parse_numbers,
    progress_lines,
    report_option,
    whole_command,
)
from .output import command, figures, plain

PES = ("4,auto", "8,auto", "16,auto", "32,auto")
CHECKPOINTS = tuple(f"checkpoints/mnist-mlp-{percent}-s0.npz" for percent in (5, 2, 1))


@command()
@click.argument("checkpoints", nargs=-1, type=click.Path())
@click.option("--bits", default="3,4,6,8", help="Weight bits to try, each 2 to 8.")
@click.option(
    "--pe", "pes", multiple=True, help="PEs per layer to try; may be repeated. [default: 4,auto 8,auto 16,auto 32,auto]"
)
@click.option("--device", "devices", multiple=True, help="Device to plan for, with or without --pe; may be repeated.")
@click.option("--images", default=1000, type=int, help="Test images whose cycles are counted.")
@cluster_options
@beat_option
@images_option
@report_option
@click.option(
    "--out",
    default="build/explore",
    type=click.Path(path_type=Path),
    help="Folder of the sweep. An interrupted sweep resumes.",
)
def explore(checkpoints, bits, pes, devices, images, cluster, pixels_a_beat, folder, report, out) -> None:
    """Sweep PEs, weight bits and CHECKPOINTS (default: the committed ones); writes points.csv and pareto.svg.

    Weights are rounded without fine-tuning. A point that was measured before, with the same checkpoint, data and
    sources, comes from build/cache. A design that cannot be built is noted, and the sweep goes on.
    """
    from ..model.data import load
    from ..quantize.network import WEIGHT_BITS
    from ..steps.explore import front, sweep
    from ..steps.place import Wanted, normal_pes

    checkpoints = checkpoints or CHECKPOINTS
    widths = parse_numbers("bits", bits, WEIGHT_BITS)
    for name in devices:
        Wanted(device=name)
    tried = (*map(normal_pes, pes), *devices) or PES
    _, test = load(folder)
    require(2 <= images <= len(test), "images", images, f"2 to {len(test)}, the test images")
    with bar("exploring", len(checkpoints) * len(widths)) as advance:
        points, refused = sweep(
            checkpoints, widths, tried, folder, pixels_a_beat, images, out, cluster, advance, progress_lines()
        )
    best = sorted(front(points), key=lambda point: point.cycles)
    told = {
        "points": [asdict(point) for point in points],
        "front": [asdict(point) for point in best],
        "refused": [asdict(one) for one in refused],
        "folder": out,
        "data": folder,
        "command": whole_command(),
    }
    figures(**told)
    for one in refused:
        click.echo(f"note: not built: {one}")
    for point in best:
        click.echo(
            f"{point.cycles:9.1f} cycles {point.memory_bits:9} bits {100 * point.accuracy:6.2f} %   "
            f"{Path(point.checkpoint).stem}, {point.bits} bits, pe {point.pe}"
        )
    click.echo(f"{len(best)} of {len(points)} points on the front; wrote {out / 'points.csv'} and {out / 'pareto.svg'}")
    if report is not None:
        from ..report.explored import exploration
        from ..report.page import write

        write(report, exploration(report, plain(told), [(out / "points.csv", "all designs")]))
        click.echo(f"wrote {report}")
    if not points:
        raise UserError(f"none of {len(refused)} designs can be built; the first: {refused[0]}")
