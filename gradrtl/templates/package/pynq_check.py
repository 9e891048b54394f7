"""Runs the package's frames on the board and compares with the simulator's packets: `python check.py [gradrtl.bit]`."""

import json
import sys
from pathlib import Path

import numpy as np
from gradrtl_board import Accelerator

HERE = Path(__file__).resolve().parent


def main(bitfile: str) -> int:
    given = json.loads((HERE / "frames.json").read_text())
    accelerator = Accelerator(bitfile)
    found = accelerator.classify(np.array(given["frames"], np.uint8)).packets.tolist()
    for number, (got, expected) in enumerate(zip(found, given["packets"], strict=True)):
        if got != expected:
            print(f"DIFFERENCE: frame {number}: packet is {got}, expected {expected}")
            return 1
    print(f"equal: {len(found)} frames; {accelerator.counters()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [str(HERE / "gradrtl.bit")])))
