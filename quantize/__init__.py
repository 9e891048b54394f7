"""From floats to a `QuantizedNetwork`: frozen integers with one meaning."""
