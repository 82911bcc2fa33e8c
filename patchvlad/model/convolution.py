"""3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications (Lavin and Gray 2016).

    Y = A' [(G g G') * (B' d B)] A,   d a 6 x 6 tile of the input, g a kernel, Y a 4 x 4 tile of the output

For many channels the elementwise products become 36 matrix products, one for each place in a tile. In float32 the
transforms lose no more than the direct convolution does: on real photos VGG16's features are as close to float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

LEAST_CHANNELS = 128  # with fewer the transforms cost as much as the multiplications that they save
LEAST_CHANNELS_BESIDE_BFLOAT16 = 512  # the same where the direct convolution would multiply twice as fast
TILE_NUMBERS = 1 << 21  # float32 numbers of transformed tiles held at a time: 8 MiB

_INPUT = torch.tensor(  # B'
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_KERNEL = (  # G
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
_OUTPUT = torch.tensor(  # A'
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_INPUT_TILE = torch.kron(_INPUT, _INPUT).float()  # (36, 36)
_OUTPUT_TILE = torch.kron(_OUTPUT, _OUTPUT).float()  # (16, 36)


class Derived:
    """Another form of a weight, computed on first use, and anew once the weight has changed."""

    def __init__(self, derive: Callable[[Tensor], Tensor]) -> None:
        self._derive = derive
        self._known: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __call__(self, weight: Tensor) -> Tensor:
        version = 0 if weight.is_inference() else weight._version  # those made in inference mode count no changes
        state = version, weight.data_ptr(), weight.dtype, weight.device
        found = self._known.get(weight)
        if found is None or found[0] != state:
            self._known[weight] = found = state, self._derive(weight.detach())
        return found[1]


def transformed_kernel(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (36, C, O), G g G' for each pair of channels."""
    kernel = _KERNEL.to(weight.device)
    tiles = torch.einsum("ai,bj,ocij->abco", kernel, kernel, weight.double())
    return tiles.flatten(0, 1).to(weight.dtype).contiguous()


_transformed = Derived(transformed_kernel)


def suits_winograd(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether `winograd` is meant for this layer and input: inference in float32 on a CPU, enough channels.

    Accelerators choose among such algorithms by themselves, and gradients are left to PyTorch.
    """
    least = LEAST_CHANNELS_BESIDE_BFLOAT16 if torch.is_autocast_enabled("cpu") else LEAST_CHANNELS
    return (
        layer.in_channels >= least
        and layer.kernel_size == (3, 3)
        and layer.padding == (1, 1)
        and x.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and not (torch.is_grad_enabled() and (x.requires_grad or layer.weight.requires_grad))
    )


def winograd(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(N, C, H, W) float32 -> (N, O, H, W), what the 3 x 3 convolution of stride 1 and padding 1 gives."""
    kernel = _transformed(layer.weight)
    images = [_convolve(image.permute(1, 2, 0), kernel) for image in x]
    maps = torch.stack(images) if len(images) > 1 else images[0][None]
    if layer.bias is not None:
        maps += layer.bias
    return maps.permute(0, 3, 1, 2)


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """(H, W, C), (36, C, O) -> (H, W, O), some rows of tiles at a time so that these stay in the cache."""
    height, width, channels = image.shape
    channels_out = kernel.shape[2]
    down, across = -(-height // 4), -(-width // 4)
    padded = F.pad(image, (0, 0, 1, across * 4 - width + 1, 1, down * 4 - height + 1)).contiguous()
    row, column, channel = padded.stride()
    out = torch.empty(down, 4, across * 4, channels_out)
    together = max(1, min(down, TILE_NUMBERS // (36 * across * max(channels, channels_out))))
    # Two workspaces, used in turns; new memory for each step would cost as much as the steps.
    one, other = torch.empty(2, 36 * together * across * max(channels, channels_out))
    for start in range(0, down, together):
        rows = min(together, down - start)
        tiles = rows * across
        windows = padded[4 * start :].as_strided(
            (6, 6, rows, across, channels),
            (row, column, 4 * row, 4 * column, channel),
            padded[4 * start :].storage_offset(),
        )
        inputs = one[: 36 * tiles * channels].view(windows.shape).copy_(windows).view(36, -1)
        inputs = torch.mm(_INPUT_TILE, inputs, out=other[: inputs.numel()].view_as(inputs)).view(36, tiles, channels)
        products = torch.bmm(inputs, kernel, out=one[: 36 * tiles * channels_out].view(36, tiles, channels_out))
        outputs = torch.mm(_OUTPUT_TILE, products.view(36, -1), out=other[: 16 * tiles * channels_out].view(16, -1))
        placed = outputs.view(4, 4, rows, across, channels_out).permute(2, 0, 3, 1, 4)
        out[start : start + rows].view(rows, 4, across, 4, channels_out).copy_(placed)
    return out.view(down * 4, across * 4, channels_out)[:height, :width]
