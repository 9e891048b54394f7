"""GradRTL: sparse spiking neural networks, from Grad R training to proven Verilog."""

__version__ = "0.2.0"
