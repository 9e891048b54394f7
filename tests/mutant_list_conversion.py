"""Single faults in networks of activations and their conversion; see `mutant.py`."""

from __future__ import annotations

from mutant import Mutant

CONVERSION = (
    Mutant(
        "activation rounds down",
        "model/relu.py",
        "return torch.floor(x / unit + 0.5).clamp_(0, levels).mul_(unit)",
        "return torch.floor(x / unit).clamp_(0, levels).mul_(unit)",
        "the shift activation lacks its half level",
    ),
    Mutant(
        "no gradient of the threshold where it clips",
        "model/relu.py",
        "(gradient * level.clamp(0, levels) - to_x * scaled)",
        "(gradient * level * inside - to_x * scaled)",
        "a threshold does not learn from sums above it",
    ),
    Mutant(
        "added populations with thresholds of their own",
        "model/relu.py",
        "for source in added[1:]:",
        "for source in added[2:]:",
        "spikes that are added are worth different sums",
    ),
    Mutant(
        "membranes start empty",
        "model/conversion.py",
        "start_value=threshold / 2 if starts_half else None",
        "start_value=None",
        "a rate is a floor, not the nearest level",
    ),
    Mutant(
        "weights behind a spike of 1",
        "model/conversion.py",
        "weight * thresholds.get(connection.sources[0], 1.0)",
        "weight * 1.0",
        "the threshold of a source does not reach the weights behind it",
    ),
    Mutant(
        "statistics drift in the tuning",
        "model/relu_train.py",
        "if spikes and population.norm is not None:",
        "if False and population.norm is not None:",
        "batch normalisation follows the batches of spikes",
    ),
    Mutant(
        "read-out rounded by class",
        "model/relu_train.py",
        "Rounded(layer.weight, bits, not to_outputs)",
        "Rounded(layer.weight, bits, True)",
        "the read-out has more scales than its integers can have",
    ),
    Mutant(
        "teacher at the wrong weight",
        "model/relu_train.py",
        "(1 - config.distil) * own + config.distil * TEMPERATURE**2 * soft",
        "own + config.distil * TEMPERATURE**2 * soft",
        "labels keep their full weight beside a teacher",
    ),
    Mutant(
        "rounded weights are rounded again",
        "quantize/graph_ptq.py",
        "    if exact is not None:\n        return replace(unit, factors=exact)\n",
        "",
        "weights on a grid are rounded at a scale near theirs",
    ),
)
