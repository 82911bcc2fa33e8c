"""Matchers, each in a file of its own; `search/registry.py` lists them."""
