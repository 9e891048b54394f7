"""Reports of runs: one self-contained HTML file each, made of the figures that the command prints with --json."""
