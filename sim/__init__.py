"""Simulation of a `QuantizedNetwork`: reference, fast engine, timing model, compiled RTL."""
