"""Hardware: mapping of a `QuantizedNetwork` to processing elements, and its generator."""
