"""The reference implementation's commands and flags, translated into ours.

Differences, all on purpose: without a GPU they say so and go on on the CPU; a --config_path that does not exist stands
for our preset of the same file name; features lie in one store per folder, keyed by path instead of file name.
"""
