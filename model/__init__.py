"""Images, float networks, Grad R, training. Only the modules that train import torch."""
