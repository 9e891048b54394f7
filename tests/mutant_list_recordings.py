"""Single faults in recordings: their data set, their files, training on them; see `mutant.py`."""

from __future__ import annotations

from mutant import Mutant

RECORDINGS = (
    Mutant(
        "recordings shifted when fitted",
        "model/recordings.py",
        "counts[:, :both] = self.counts[:, :both]",
        "counts[:, -both:] = self.counts[:, -both:]",
        "recordings of other lengths are aligned at their end",
    ),
    Mutant(
        "digest without groups",
        "model/recordings.py",
        "for values in (self.labels, groups):",
        "for values in (self.labels,):",
        "data sets with other speakers count as equal",
    ),
    Mutant(
        "speaker in training",
        "model/recordings.py",
        "return data[~chosen], data[chosen]",
        "return data, data[chosen]",
        "the group that is held out is trained on",
    ),
    Mutant(
        "wide counts wrap",
        "model/recordings.py",
        "largest = (1 << bits) - 1",
        "largest = 1 << bits",
        "counts one above what an input takes are not clipped",
    ),
    Mutant(
        "images for recordings",
        "model/recordings.py",
        'require(isinstance(data, Recordings), what, "images",',
        'require(True, what, "images",',
        "images reach a network that reads recordings",
    ),
    Mutant(
        "pairs of other steps",
        "model/recordings.py",
        'for name in ("steps", "shape"):',
        'for name in ("shape",):',
        "a test set may have other steps than the training set",
    ),
    Mutant(
        "events are worth pixels",
        "quantize/graph_rounding.py",
        "for part in self.graph.inputs if not part.counts}",
        "for part in self.graph.inputs}",
        "an event counts as a pixel of 1 of 255",
    ),
    Mutant(
        "counts of one bit are graded",
        "quantize/graph_rounding.py",
        '"spikes" if part.counts == 1 else "graded"',
        '"graded"',
        "an input of single events gets a multiplier",
    ),
    Mutant(
        "graded frames are not clipped",
        "quantize/images.py",
        "clipped(counts, bits)",
        "clipped(counts, 8)",
        "simulators are given counts that the input does not take",
    ),
    Mutant(
        "training sees whole counts",
        "model/graph_network.py",
        "clipped(images, part.counts)",
        "clipped(images, 8)",
        "training sees counts that the hardware does not",
    ),
    Mutant(
        "steps behind the batch",
        "quantize/integer_graph.py",
        "own = frames_of_recordings(given, steps, frames)",
        "own = frames_of_recordings(given, steps, frames).flip(1)",
        "fine-tuning sees recordings backwards",
    ),
    Mutant(
        "jitter to one side",
        "model/augment.py",
        "torch.randint(-most, most + 1,",
        "torch.randint(0, most + 1,",
        "events are only ever late",
    ),
    Mutant(
        "events leave on one side and enter on the other",
        "model/augment.py",
        "kept = kept & (place >= 0) & (place < size)",
        "kept = kept & (place >= 0)",
        "shifted events are not lost at the border",
    ),
    Mutant(
        "dropped alike",
        "model/augment.py",
        ">= self.drop * draws[1, one]",
        ">= self.drop",
        "all recordings lose the same fraction",
    ),
    Mutant(
        "events lost where they meet",
        "model/augment.py",
        "each = each.repeat_interleave(many)",
        "each = each.clone()",
        "augmentation leaves one event of a bin",
    ),
    Mutant(
        "outputs of lines fire",
        "model/architecture.py",
        'ReadoutSpec("output", "sum"), recorded.steps)',
        'ReadoutSpec("output", "membrane"), recorded.steps)',
        "lines for recordings are read at the end alone",
    ),
)
