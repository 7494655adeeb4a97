"""The DCGAN of Radford et al. 2016, for sides of 32 to 256 pixels in multiples of 8.

Transposed convolutions up, strided convolutions down, BatchNorm but not at the two pixel ends,
ReLU in G and LeakyReLU in D, weights from N(0, 0.02), in G spread smoothly. Beside the networks
stand the two functions between which floats in [-1, 1] exist; everywhere else a picture is uint8
RGB.

    B batch   Z z_dim   C channels   H W pixels
"""

import torch
from torch import nn
from torch.nn.functional import interpolate, leaky_relu

from vidgan.config import ModelConfig
from vidgan.networks.classes import CLASS_DIM, projected, with_classes

_WIDEST = 8  # channels grow up to this many times those at half resolution


class Generator(nn.Module):
    """z float32 [B, Z] and classes (see `embedded`) -> picture float32 [B, 3, H, W] in [-1, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.z_dim = config.z_dim
        self.embedding = nn.Embedding(config.classes, CLASS_DIM) if config.classes else None
        z_wide = config.z_dim + (CLASS_DIM if config.classes else 0)
        stages = sides(config.height, config.width)  # of every stage, smallest first
        widths = _widths(config.channels, len(stages) - 1)[::-1]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(z_wide, widths[0], stages[0], bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for stage, width in enumerate([*widths[1:], 3]):
            height_wide = stages[stage + 1]
            # Twice the side, or twice less one: a second ring of padding and one row given back.
            odd = tuple(side % 2 for side in height_wide)
            layers.append(
                nn.ConvTranspose2d(
                    widths[stage],
                    width,
                    kernel_size=4,
                    stride=2,
                    padding=(1 + odd[0], 1 + odd[1]),
                    output_padding=odd,
                    bias=width == 3,
                )
            )
            if width != 3:
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.sides, self.growth = stages, config.growth
        self.heads = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in widths if config.grows)
        self.apply(_initialise)

    def forward(self, z: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        assert z.ndim == 2 and z.shape[1] == self.z_dim, f"z {tuple(z.shape)} is not [B, Z]"
        z = with_classes(z, classes, self.embedding)
        x = z.reshape(-1, z.shape[1], 1, 1)  # [B, Z] -> [B, Z, 1, 1]
        stage, share = divmod(self.growth, 1)
        low, last = int(stage), len(self.sides) - 1
        if not self.heads or low >= last:
            return self.layers(x)
        # Half grown: the picture of the stage below, faded into that of the next.
        x = self.layers[: 3 * low + 3](x)
        image = torch.tanh(self.heads[low](x))
        if share:
            x = self.layers[3 * low + 3 : 3 * low + 6](x)
            finer = x if low + 1 == last else torch.tanh(self.heads[low + 1](x))
            image = torch.lerp(_enlarged(image, self.sides[low + 1]), finer, share)
        return _enlarged(image, self.sides[-1])


class Discriminator(nn.Module):
    """Picture float32 [B, 3, H, W] in [-1, 1] and classes -> logit float32 [B], above 0 for "real".

    Classes enter by projection: the logit gains <embedding(class), features> (Miyato and Koyama
    2018, equation 3).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = (config.height, config.width)
        stages = sides(config.height, config.width)
        widths = _widths(config.channels, len(stages) - 1)
        batch_norm = config.discriminator_norm in ("auto", "batch")
        layers: list[nn.Module] = []
        self.starts: list[int] = []  # of each stage in `layers`
        for stage, width in enumerate(widths):
            self.starts.append(len(layers))
            before = widths[stage - 1] if stage else 3
            # A side of 2n + 1 shrinks to n + 1, so that D passes through the sides of G.
            odd = stages[-1 - stage]
            layers.append(
                nn.Conv2d(
                    before,
                    width,
                    kernel_size=4,
                    stride=2,
                    padding=(1 + odd[0] % 2, 1 + odd[1] % 2),
                    bias=stage == 0 or not batch_norm,
                )
            )
            if stage and batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.starts.append(len(layers))
        layers.append(nn.Conv2d(widths[-1], 1, stages[0]))
        self.layers = nn.Sequential(*layers)
        self.sides, self.growth = stages, config.growth
        self.heads = nn.ModuleList(nn.Conv2d(3, width, 1) for width in widths[::-1] if config.grows)
        self.embedding = nn.Embedding(config.classes, widths[-1]) if config.classes else None
        self.apply(_initialise)
        if self.embedding:
            nn.init.normal_(self.embedding.weight, 0.0, widths[-1] ** -0.5)
        if config.discriminator_norm == "spectral":  # Miyato et al. 2018
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, image: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        features = self.features(image)
        logit = self.layers[-1](features).flatten(0)  # [B, 1, 1, 1] -> [B]
        return logit + projected(features.mean((2, 3)), classes, self.embedding)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """What D sees before it judges: [B, D, h, w]."""
        assert image.shape[1:] == (3, *self.size), f"image {tuple(image.shape)} is not {self.size}"
        stage, share = divmod(self.growth, 1)
        low, last = int(stage), len(self.sides) - 1
        if not self.heads or low >= last:
            return self.layers[:-1](image)
        x = leaky_relu(self.heads[low](_shrunk(image, self.sides[low])), 0.2)
        if share:
            finer, entry = _shrunk(image, self.sides[low + 1]), last - low - 1
            if entry:
                finer = leaky_relu(self.heads[low + 1](finer), 0.2)
            finer = self.layers[self.starts[entry] : self.starts[entry + 1]](finer)
            x = torch.lerp(x, finer, share)
        return self.layers[self.starts[last - low] : -1](x)


@torch.no_grad()
def balance(generator: Generator) -> None:
    """Keep G from painting a chequerboard on even ground: after each step of its training.

    Of 16 taps a pixel sees four, by its place among four neighbours. Where the sums of these fours
    are equal, even ground stays even, as after enlargement and an ordinary convolution.
    """
    tap = torch.arange(16, device=generator.layers[0].weight.device)
    four = tap // 4 % 2 * 2 + tap % 2  # that a tap belongs to
    # Tap by tap, a fourth of how far the sum of its four is from the mean of the sums.
    excess = ((four[:, None] == four).float() - 0.25) / 4
    for layer in generator.layers:
        if isinstance(layer, nn.ConvTranspose2d) and layer.stride == (2, 2):
            weight = layer.weight
            taps = weight.permute(0, 2, 3, 1).flatten(1, 2)  # [in, out, 4, 4] -> [in, 16, out]
            weight -= (excess @ taps).unflatten(1, (4, 4)).permute(0, 3, 1, 2)


def stage_at(images_seen: int, images_per_phase: int) -> float:
    """Progressive growing (Karras et al. 2018): a phase of training, then one that fades the next
    stage in, and so on; 2.25 = three stages stand, the fourth is a quarter in."""
    phase, share = divmod(images_seen / images_per_phase, 1)
    return phase // 2 + (share if phase % 2 else 0.0)


def faded(image: torch.Tensor, generator: Generator) -> torch.Tensor:
    """Reals [B, 3, H, W] with no more detail than a growing generator can have."""
    stage, share = divmod(generator.growth, 1)
    if not generator.heads or stage >= len(generator.sides) - 1:
        return image
    low, full = int(stage), generator.sides[-1]
    coarse = _enlarged(_shrunk(image, generator.sides[low]), full)
    if not share:
        return coarse
    return torch.lerp(coarse, _enlarged(_shrunk(image, generator.sides[low + 1]), full), share)


def _enlarged(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return interpolate(image, size, mode="nearest")


def _shrunk(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return interpolate(image, size, mode="area")


def sides(height: int, width: int) -> list[tuple[int, int]]:
    """(H, W) of every stage, smallest first: halved, rounding up, until the shorter is below 8."""
    stages = [(height, width)]
    while min(stages[0]) >= 8:
        stages.insert(0, ((stages[0][0] + 1) // 2, (stages[0][1] + 1) // 2))
    return stages


def _widths(channels: int, stages: int) -> list[int]:
    """Feature maps of D's stages, largest picture first."""
    return [channels * min(2**stage, _WIDEST) for stage in range(stages)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.stride == (2, 2) and isinstance(module, nn.ConvTranspose2d):
            # Sixteen independent taps paint a chequerboard, which a short run does not get rid of.
            # One number each, spread as bilinear enlargement has it, of the same size on average.
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 5**0.5
            with torch.no_grad():
                module.weight.copy_(module.weight[:, :, :1, :1] * torch.outer(taps, taps))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
