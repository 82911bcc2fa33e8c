"""VGG16 without weights: the reference loads its own checkpoint over them."""

from torch import nn

PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16(weights: str | None = None) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for step in PLAN:
        if step == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, step, 3, padding=1), nn.ReLU(inplace=True)]
            channels = step
    network = nn.Module()
    network.features = nn.Sequential(*layers)
    return network
