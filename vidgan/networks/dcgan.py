"""The DCGAN of Radford et al. 2016, for sides of 32 to 256 pixels in multiples of 8.

G has transposed convolutions and ReLU, D has strided convolutions and LeakyReLU. Both have
BatchNorm, but not at their pixel ends. Weights start as N(0, 0.02), in G spread smoothly.

    B batch   Z z_dim   C channels   H W pixels
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, interpolate, leaky_relu, pad

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.latent import seeds
from vidgan.networks import base
from vidgan.networks.base import CLASS_DIM, SMALL, in_three, projected

_NOISE_FROM = 16  # numbers of a latent
_NOISE = 0.3  # strength at first, relative to what a BatchNorm gives; see train/README.md
_BENEATH = 1.5  # of the layout beneath a picture, before tanh
_WIDEST = 8  # the widest layer has this many times the channels at half resolution


class Generator(base.Generator):
    """z float32 [B, Z] and classes (see `embedded`) -> picture float32 [B, 3, H, W] in [-1, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        z_wide = config.z_dim + (CLASS_DIM if config.classes else 0)
        stages = sides(config.height, config.width)  # smallest first
        widths = _widths(config.channels, len(stages) - 1)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(z_wide, widths[0], stages[0], bias=False)]
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        colours = config.colours or 3
        self.told = min(i for i, side in enumerate(stages) if min(side) >= SMALL)  # see `Layout`
        for stage, width in enumerate([*widths[1:], colours]):
            # A layer doubles a side n. For 2n - 1 it pads both ends by one more, and adds one row.
            odd = [side % 2 for side in stages[stage + 1]]
            padding = [1 + side for side in odd]
            last = stage == len(widths) - 1
            before = widths[stage] + colours * (config.layout and stage == self.told)
            up = Doubling(before, width, config.taps, 2, padding, odd, bias=last)
            layers.append(up)
            if not last:
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.sides, self.growth = stages, config.growth
        noisy = range(1, len(widths)) if config.noise else ()  # stages; the first shows z anyway
        self.noise = nn.ModuleDict(
            {f"{i}": Noise(i, widths[i], stages[i], config.z_dim) for i in noisy}
        )
        if config.layout:
            self.layout = Layout(colours, config.z_dim, (stages[self.told], stages[-1]))
        self.heads = nn.ModuleList(nn.Conv2d(width, colours, 1) for width in widths if config.grows)
        self.apply(_initialise)

    def forward(
        self, z: Tensor, classes: Tensor | None = None, codes: Tensor | None = None
    ) -> Tensor:
        noise = {stage: add.field(z) for stage, add in self.noise.items()}
        z, near = self.latents(z, classes, codes)
        layout = self.layout(near) if self.layout else ()
        z = self.with_classes(z, classes)
        x = z.reshape(-1, z.shape[1], 1, 1)  # [B, Z] -> [B, Z, 1, 1]
        stage, share = divmod(self.growth, 1)
        low, last = int(stage), len(self.sides) - 1
        if not self.heads or low >= last:
            return in_three(self._run(x, 0, len(self.layers), noise, layout))
        # Between two stages: blend the picture of the lower stage with that of the next.
        x = self._run(x, 0, 3 * low + 3, noise, layout)
        image = torch.tanh(self.heads[low](x))
        if share:
            x = self._run(x, 3 * low + 3, 3 * low + 6, noise, layout)
            finer = x if low + 1 == last else torch.tanh(self.heads[low + 1](x))
            image = self._enlarged(image, self.sides[low + 1])
            change = share * (finer - image)
            image = torch.lerp(image, finer, share) if self.training else image + change
        return in_three(self._enlarged(image, self.sides[-1]))

    def _run(
        self, x: Tensor, first: int, end: int, noise: dict[str, Tensor], layout: Sequence[Tensor]
    ) -> Tensor:
        """Some of the layers. Noise is added to what a BatchNorm gives, the second of a stage. The
        layout stands beside the maps of its side, and beneath the picture."""
        for i, layer in enumerate(self.layers[first:end], start=first):
            if layout and i == 3 * self.told + 3:
                x = torch.cat([x, layout[0]], 1)
            if layout and i == len(self.layers) - 1:
                x = x + _BENEATH * layout[1]
            x = layer(x)
            if i % 3 == 1 and (stage := f"{i // 3}") in noise:
                x = self.noise[stage](x, noise[stage])
        return x

    def _enlarged(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Nearest neighbour. The graph of an export may hold neither Shape nor Where, so that
        `interpolate` and `lerp` are for training only."""
        if self.training:
            return interpolate(image, size)
        for axis, n in ((2, size[0]), (3, size[1])):
            index = torch.arange(n, device=image.device) * image.shape[axis] // n
            image = image.index_select(axis, index)
        return image

    def fold(self) -> None:
        """Compute the kernels of `Doubling` once and for all: the generator trains no more."""
        for layer in self.layers:
            if isinstance(layer, Doubling):
                layer.weight = nn.Parameter(layer.kernel().detach())
                layer.kernel_size = (4, 4)

    def limit_detail(self, real: Tensor) -> Tensor:
        """Reduce reals [B, 3, H, W] to the detail of the stages grown so far."""
        stage, share = divmod(self.growth, 1)
        if not self.heads or stage >= len(self.sides) - 1:
            return real
        low, full = int(stage), self.sides[-1]
        coarse = interpolate(interpolate(real, self.sides[low], mode="area"), full)
        finer = interpolate(interpolate(real, self.sides[low + 1], mode="area"), full)
        return torch.lerp(coarse, finer, share)


class Doubling(nn.ConvTranspose2d):
    """Doubles each pixel, and then convolves 3x3: at once, by a transposed convolution 4x4.

    A transposed convolution makes four pixels of one, each by four of its 16 taps. If these are
    free, G paints dots and chequerboards that no short training removes (Odena et al. 2016,
    "Deconvolution and checkerboard artifacts"). So the weight is 3x3, and [a, b, c] along an axis
    is the kernel [a, a + b, b + c, c]. Models of older versions have a free weight of 4x4.
    """

    def kernel(self) -> Tensor:
        if self.kernel_size != (3, 3):
            return self.weight
        moved = [pad(self.weight, (x, 1 - x, y, 1 - y)) for x in (0, 1) for y in (0, 1)]
        return moved[0] + moved[1] + moved[2] + moved[3]

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(
            x, self.kernel(), self.bias, self.stride, self.padding, self.output_padding
        )


class Noise(nn.Module):
    """Adds noise to feature maps [B, C, H, W], each map by its own strength, which is learned.

    Without noise G has nothing to make irregular detail from, so it repeats one motif in step, for
    example dots along every coast (Karras et al. 2019, "A Style-Based Generator Architecture",
    3.2). Their noise is random in each picture. This is a function of the latent, so that a latent
    has one picture, and changes along a path as evenly as the latent does.
    """

    def __init__(self, stage: int, channels: int, side: tuple[int, int], z_dim: int) -> None:
        super().__init__()
        first = nn.init.normal_(torch.empty(channels, 1, 1), std=_NOISE)
        self.strength, self.side = nn.Parameter(first), side
        # A pixel's noise is a sum of the first N numbers of the latent, by weights of its own.
        pixels, few = np.arange(math.prod(side)), min(z_dim, _NOISE_FROM)
        fields = seeds.gaussian(stage, pixels, z_dim=few).T.copy()  # [N, H W]
        self.register_buffer("fields", torch.from_numpy(fields), persistent=False)

    def field(self, z: Tensor) -> Tensor:
        """Latents [B, Z], of any length -> about N(0, 1) for each pixel, [B, 1, H, W]."""
        mixed = z[:, : len(self.fields)] @ self.fields  # [B, H W]
        scale = (z.shape[1] / len(self.fields)) ** 0.5
        return (scale * mixed / base.length(z)).reshape(-1, 1, *self.side)

    def forward(self, x: Tensor, field: Tensor) -> Tensor:
        return torch.addcmul(x, self.strength, field)


class Layout(nn.Module):
    """The picture of 16x16 pixels of which a latent is the code (see `training.codes`), enlarged.

    So G need not learn what is where, and paints detail into a blurred picture. Its constants are
    of the CPU, also on `meta` (see `generator.checkpoint`), where computing them takes a second.
    """

    def __init__(self, colours: int, z_dim: int, sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.colours, pixels = colours, colours * SMALL * SMALL
        self.register_buffer("mean", torch.zeros(pixels))
        # What each number of a code adds. The first one only scales the others: the root of the
        # scale has this mean and deviation.
        self.register_buffer("parts", torch.zeros(z_dim, pixels))
        self.register_buffer("contrast", torch.zeros(2))
        others = torch.arange(z_dim, device="cpu") > 0
        self.register_buffer("others", others.float(), persistent=False)
        self.enlarged = nn.ModuleList(_Enlarging(*size) for size in sizes)

    def forward(self, z: Tensor) -> list[Tensor]:
        """Latents [B, Z], of any length -> pictures [B, C, H, W] of each size."""
        long, (mean, deviation) = base.length(z), self.contrast
        scale = mean + deviation * z.shape[1] ** 0.5 * z[:, :1] / long
        # Z numbers and not Z - 1, of which a runtime may sum those of a batch in another order.
        parts = z @ self.parts / base.length(z * self.others)
        small = (self.mean + scale * scale * parts).reshape(-1, self.colours, SMALL, SMALL)
        return [enlarged(small) for enlarged in self.enlarged]


class _Enlarging(nn.Module):
    """Bicubic, by two products of matrices, for which every runtime computes the same."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        one = torch.eye(SMALL, device="cpu")[None, None]
        tall, wide = (interpolate(one, (side, SMALL), mode="bicubic") for side in (height, width))
        self.register_buffer("tall", tall[0, 0], persistent=False)  # [H, 16]
        self.register_buffer("wide", wide[0, 0].T.contiguous(), persistent=False)  # [16, W]

    def forward(self, small: Tensor) -> Tensor:
        return self.tall @ small @ self.wide


class Discriminator(base.Discriminator):
    """Picture float32 [B, 3, H, W] in [-1, 1] and classes -> one map of logits float32 [B].

    A logit above 0 means "real". Classes enter by projection: <embedding(class), features> is
    added to the logit (Miyato and Koyama 2018, equation 3).
    """

    def __init__(self, config: DiscriminatorConfig, model: ModelConfig) -> None:
        super().__init__()
        self.size = (model.planes, model.height, model.width)
        stages = sides(model.height, model.width)
        widths = _widths(model.channels, len(stages) - 1)
        batch_norm = config.norm in ("auto", "batch")
        layers: list[nn.Module] = []
        self.starts: list[int] = []  # index in `layers` of the first layer of each stage
        for stage, width in enumerate(widths):
            self.starts.append(len(layers))
            before = widths[stage - 1] if stage else model.planes
            # A side of 2n + 1 shrinks to n + 1, so D has the same sides as G.
            padding = [1 + side % 2 for side in stages[-1 - stage]]
            bias = stage == 0 or not batch_norm
            layers.append(nn.Conv2d(before, width, 4, 2, padding, bias=bias))
            if stage and batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.starts.append(len(layers))
        layers.append(nn.Conv2d(widths[-1], 1, stages[0]))
        self.layers = nn.Sequential(*layers)
        self.sides, self.growth = stages, model.growth
        planes, grown = model.planes, widths[::-1] if model.grows else ()
        self.heads = nn.ModuleList(nn.Conv2d(planes, width, 1) for width in grown)
        self.embedding = nn.Embedding(model.classes, widths[-1]) if model.classes else None
        self.apply(_initialise)
        if self.embedding:
            nn.init.normal_(self.embedding.weight, 0.0, widths[-1] ** -0.5)
        if config.norm == "spectral":  # Miyato et al. 2018
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    nn.utils.parametrizations.spectral_norm(layer)

    def logits(self, seen: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        (features,) = self.features(*seen)
        logit = self.layers[-1](features).flatten(0)  # [B, 1, 1, 1] -> [B]
        return [logit + projected(features.mean((2, 3)), classes, self.embedding)]

    def features(self, image: Tensor) -> list[Tensor]:
        assert image.shape[1:] == self.size, f"image {tuple(image.shape)} is not {self.size}"
        stage, share = divmod(self.growth, 1)
        low, last = int(stage), len(self.sides) - 1
        if not self.heads or low >= last:
            return [self.layers[:-1](image)]
        x = leaky_relu(self.heads[low](interpolate(image, self.sides[low], mode="area")), 0.2)
        if share:
            finer, entry = interpolate(image, self.sides[low + 1], mode="area"), last - low - 1
            if entry:
                finer = leaky_relu(self.heads[low + 1](finer), 0.2)
            finer = self.layers[self.starts[entry] : self.starts[entry + 1]](finer)
            x = torch.lerp(x, finer, share)
        return [self.layers[self.starts[last - low] : -1](x)]


def sides(height: int, width: int) -> list[tuple[int, int]]:
    """(H, W) of every stage, smallest first: halved and rounded up until the shorter is below 8."""
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
        doubles = module.stride == (2, 2) and isinstance(module, nn.ConvTranspose2d)
        if doubles and not module.weight.is_meta:
            # One random number times a bilinear kernel [1, 3, 3, 1], whose mean square is 5.
            taps = torch.tensor(
                [1.0, 2.0, 1.0] if module.kernel_size == (3, 3) else [1.0, 3.0, 3.0, 1.0]
            )
            taps = taps / 5**0.5
            with torch.no_grad():
                module.weight.copy_(module.weight[:, :, :1, :1] * torch.outer(taps, taps))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
