"""Dense backbones, each in a file of its own; `model/registry.py` lists them."""
