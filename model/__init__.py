"""Floats: data, neurons, Grad R, training. Only the modules that train import torch."""
