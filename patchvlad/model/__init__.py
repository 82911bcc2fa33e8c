"""Photos to descriptors: backbone, VLAD, whitening, the network of the three, and its checkpoints."""
