"""A checkpoint in the released format with more components, for benchmarks where the released ones cannot be had.

    python benchmarks/make_checkpoint.py imagenet_WPCA512.pth.tar OUT_WPCA4096.pth.tar --components 4096 --photos DIR

Backbone and VLAD layer stay those of the given checkpoint; the whitening is fitted anew to patches of the photos.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import patchvlad as pv
from patchvlad import cli
from patchvlad.train.fitting import draw_images, fit_whitening_to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="never those of the benchmark itself")
    parser.add_argument("--components", type=int, default=4096)
    parser.add_argument("--images", type=int, default=400, help="photos drawn at most")
    parser.add_argument("--samples", type=int, default=14_000, help="patches drawn")
    arguments = parser.parse_args()
    model = pv.load_model(arguments.checkpoint)
    images = pv.ImageList.join([pv.ImageList.read(photos) for photos in arguments.photos])
    images = draw_images(images, arguments.images, np.random.default_rng(0))
    with cli.bar("fit") as progress:
        whitening = fit_whitening_to(
            model.backbone,
            model.vlad,
            images,
            arguments.components,
            samples=arguments.samples,
            progress=progress,
        )
    state = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    state["WPCA.0.weight"] = whitening.weight.detach()[..., None, None]
    state["WPCA.0.bias"] = whitening.bias.detach()
    torch.save({"num_pcs": arguments.components, "state_dict": state}, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
