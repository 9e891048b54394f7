"""The commands: options and what is printed. The work is done by `gradrtl.steps`.

A module here loads nothing heavy when it is imported, so that help and completion are fast: steps are imported inside
the functions.
"""

# Each command, in the order of the help, and the module here that holds the function of that name.
COMMANDS = {
    "demo": "demo",
    "train": "training",
    "listen": "listening",
    "hear": "listening",
    "tune": "tune",
    "teacher": "teaching",
    "convert": "converting",
    "quantize": "training",
    "import": "importing",
    "export": "importing",
    "info": "network",
    "simulate": "network",
    "place": "hardware",
    "generate": "hardware",
    "verify": "hardware",
    "package": "package",
    "sweep": "sweep",
    "explore": "explore",
    "synth": "board",
    "run": "board",
    "report": "demo",
    "moving": "recordings",
}
