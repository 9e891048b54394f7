"""Single faults in reports: verdict, escaping, what is drawn of which machine, figures of the cores."""

from __future__ import annotations

from mutant import Mutant

_FAULTS = {
    "gradrtl/report/page.py": (
        ("text as markup", "autoescape=True", "autoescape=False", "a name becomes a part of the page"),
        ("links from anywhere", "path.resolve().parent)", '"/")', "links lead nowhere"),
        ("links to nothing", "or not target.is_file()", "", "a link to a file that was not written"),
    ),
    "gradrtl/report/charts.py": (
        ("ids of all charts alike", 'rf"\\1{name}-"', 'r"\\1"', "two charts share their clip paths"),
        ("colours of paper", 'f"var(--{COLOURS[found[0]]})"', '"#000"', "black lines on a dark page"),
        ("labels cut", 'r"<[^>]*>", lambda', 'r"[^<>]+|<[^>]*>", lambda', "0.0015 becomes 0.0"),
        ("charts without description", "{escape(description)}</desc>", "</desc>", "nothing for screen readers"),
        ("formulas", '"text.parse_math": False', '"text.parse_math": True', "a name with dollars is a formula"),
    ),
    "gradrtl/report/plots.py": (
        (
            "the simulator's spikes twice",
            "got = one.got.spikes[number] * one.built[number]",
            "got = one.expected.spikes[number] * one.built[number]",
            "a spike that the Verilog lacks is drawn as its own",
        ),
        (
            "the simulator's membranes twice",
            "one.got.membranes[number][span, neuron], color",
            "one.expected.membranes[number][span, neuron], color",
            "membranes that differ are drawn alike",
        ),
        (
            "neurons that are not there",
            "got = one.got.spikes[number] * one.built[number]",
            "got = one.got.spikes[number]",
            "spikes of neurons that are not built",
        ),
        (
            "the first steps always",
            "middle = 0 if difference is None or difference.step is None else difference.step",
            "middle = 0",
            "the difference is outside what is drawn",
        ),
        ("difference not drawn", "found = np.union1d(found, spot[:1])", "pass", "the neuron that differs is left out"),
    ),
    "gradrtl/report/runs.py": (
        (
            "answers of training not shown",
            "sections.answers(figures, samples=test.images)",
            "sections.energy({})",
            "no confusion matrix",
        ),
        ("always a pass", 'if figures["passed"]:\n        what', "if True:\n        what", "a failure is a pass"),
        (
            "machines exchanged",
            '("in the simulator", str(difference.expected))',
            '("in the simulator", str(difference.got))',
            "the Verilog's value is called the simulator's",
        ),
    ),
    "gradrtl/steps/results.py": (
        ("transposed", "(labels, answers), 1)", "(answers, labels), 1)", "labels and answers exchanged"),
        ("right frames", "np.flatnonzero(labels != answers)", "np.flatnonzero(labels == answers)", "right is wrong"),
    ),
    "gradrtl/steps/simulate.py": (
        ("the first counted", "(COUNTED_IMAGES) * number // COUNTED_IMAGES", "(COUNTED_IMAGES)", "a class"),
        ("a stream in parts", "if network.stream or number <= COUNTED_IMAGES", "if number <= COUNTED_IMAGES", "gaps"),
    ),
    "sim/traces.py": (
        ("the first steps of a stream", "slice(window.start, came)", "slice(came - window.start)", "other steps of it"),
        ("window of a stream behind the step", "step - STREAM_STEPS // 2", "step", "nothing before the difference"),
        ("step of a stream from its begin", "difference.frame - self.first", "difference.frame", "marked elsewhere"),
        (
            "the engine again",
            "got=trace and _cut(trace, end)",
            "got=trace and one.expected",
            "the simulator's trace is called the Verilog's",
        ),
        (
            "another frame",
            "_Again(numbers, [frame - begin],",
            "_Again(numbers, [0],",
            "the first frame of the share is shown",
        ),
        ("stalls of the first driver", "stalls.of_part(number)", "stalls", "other stalls than compared"),
        (
            "differences of no neurons",
            "np.count_nonzero((a != b)[:, used])",
            "np.count_nonzero(a != b)",
            "neurons that are not built differ",
        ),
    ),
    "sim/activity.py": (
        ("the last steps too", "segments - port.delay", "segments", "events that a delay leads out of the frame"),
        ("all ports at the first", "+ mapping.offset(port)", "", "events of a port counted as those of another"),
        ("mean of all", "float(reads.max())", "float(reads.mean())", "the busiest is as busy as all"),
    ),
}  # fmt: skip

REPORT = tuple(Mutant(name, file, *fault) for file, faults in _FAULTS.items() for name, *fault in faults)
