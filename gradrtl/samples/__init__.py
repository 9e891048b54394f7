"""A network and some test images that come with the package, so that commands work in any folder.

`mnist-1pct.npz` is `networks/mnist-1pct.npz` of the repository; `images.npz` holds the first 100 test images of MNIST,
uint8 `[n, 1, 28, 28]`, and their labels, uint8 `[n]`.
"""

from __future__ import annotations

from pathlib import Path

SAMPLE = "sample"  # name of the network on the command line
NETWORK = Path(__file__).with_name("mnist-1pct.npz")
IMAGES = Path(__file__).with_name("images.npz")
