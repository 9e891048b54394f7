"""What the commands do, as plain functions: train, quantise, simulate, place, generate, verify, synthesise."""
