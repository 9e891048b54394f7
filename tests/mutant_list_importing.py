"""Single faults in the import and export of NIR."""

from __future__ import annotations

from mutant import Mutant

IMPORTING = (
    Mutant(
        "imported threshold equal",
        "quantize/imported.py",
        "near if equal else near + 1",
        "near if equal else near",
        "> for >= where a threshold is a whole number of units",
    ),
    Mutant(
        "imported threshold to nearest",
        "quantize/imported.py",
        "np.ceil(exact) if equal else np.floor(exact) + 1",
        "np.ceil(exact) if equal else np.floor(exact)",
        "a threshold between two units is the one below",
    ),
    Mutant(
        "delayed reset undecayed",
        "model/importing/neurons.py",
        "amount = threshold / made.decay",
        "amount = threshold",
        "what is subtracted a step later is not divided by the decay",
    ),
    Mutant(
        "exponential as euler",
        "model/importing/neurons.py",
        "return np.exp(-ratio)",
        "return 1 - ratio",
        "a decay is linear in the step",
    ),
    Mutant(
        "cycle at once",
        "model/importing/structure.py",
        "found.add((name, target))",
        "pass",
        "the connection that closes a cycle has no delay",
    ),
    Mutant(
        "kernels not grown",
        "model/importing/linear.py",
        "more = max(0, wide - (size + first + last) + 1)",
        "more = 0",
        "padding may be wider than the kernel",
    ),
    Mutant(
        "padding between convolutions",
        "model/importing/linear.py",
        "return padding == (0, 0) or points",
        "return True",
        "convolutions compose though there are zeros between them",
    ),
    Mutant(
        "bias once a path",
        "model/importing/graph.py",
        "if found.plain.nodes[name].type in BIASED and way not in seen:",
        "if found.plain.nodes[name].type in BIASED:",
        "a bias counts once for each path through its node",
    ),
    Mutant(
        "max pool of sums",
        "model/importing/linear.py",
        'pool=Pool("max", before * size)',
        'pool=Pool("average", before * size)',
        "spikes of a window are counted where one is enough",
    ),
    Mutant(
        "max pools behind each other",
        "model/importing/linear.py",
        "before = 1 if self.pool is None else self.pool.size",
        "before = 1",
        "the second of two max pools takes the place of the first",
    ),
    Mutant(
        "max pool of negative spikes",
        "model/importing/linear.py",
        "self.factors is not None and self.factors[0] > 0",
        "self.factors is not None",
        "a max pool behind a negative factor",
    ),
    Mutant(
        "overlapping max pool",
        "model/importing/modules.py",
        '(size == fields["stride"]).all() and not fields["padding"].any()',
        'not fields["padding"].any()',
        "windows that overlap are taken as windows beside each other",
    ),
    Mutant(
        "exported shift lost",
        "quantize/nir_export.py",
        "astype(np.float64) * (1 << connection.shift) * pixels",
        "astype(np.float64) * pixels",
        "weights are exported without the shift of their connection",
    ),
)
