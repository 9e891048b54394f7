"""Hardware: mapping of a `QuantizedNetwork` onto processing elements, and the generator."""
