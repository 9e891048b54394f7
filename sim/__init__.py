"""Simulation of a `QuantizedNetwork`: its meaning, a fast engine, cycles, compiled RTL."""
