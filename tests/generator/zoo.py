"""Generators as people write them in PyTorch, in the layouts that are common in public code."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F


class Tutorial(nn.Module):
    """The generator of PyTorch's tutorial and of examples/dcgan, with the same names of layers."""

    def __init__(
        self,
        *,
        z_dim=100,
        channels=8,
        colours=3,
        stages=4,
        bias=False,
        act=lambda: nn.ReLU(True),
        eps=1e-5,
        end=nn.Tanh,
        last=(4, 2, 1),
    ):
        super().__init__()
        widths = [channels * 2**s for s in range(stages)][::-1]
        layers = [nn.ConvTranspose2d(z_dim, widths[0], 4, 1, 0, bias=bias)]
        for before, after in zip(widths, [*widths[1:], colours], strict=True):
            layers += [nn.BatchNorm2d(before, eps), act()]
            geometry = last if after == colours else (4, 2, 1)
            layers.append(nn.ConvTranspose2d(before, after, *geometry, bias=bias))
        self.main = nn.Sequential(*layers, end())

    def forward(self, z):
        return self.main(z[:, :, None, None])


class Blocks(nn.Module):
    """A course's DCGAN for 28x28: blocks of kernels 3, 4, 3, 4 without padding."""

    def __init__(self, z_dim=64, channels=8):
        super().__init__()
        self.gen = nn.Sequential(
            self.block(z_dim, channels * 4, 3, 2),
            self.block(channels * 4, channels * 2, 4, 1),
            self.block(channels * 2, channels, 3, 2),
            nn.Sequential(nn.ConvTranspose2d(channels, 1, 4, 2), nn.Tanh()),
        )

    def block(self, before, after, kernel, stride):
        conv = nn.ConvTranspose2d(before, after, kernel, stride)
        return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))

    def forward(self, z):
        return self.gen(z.view(len(z), -1, 1, 1))


class Kernels4344(nn.Module):
    """For 28x28: 4, 7, 14, 28."""

    def __init__(self, z_dim=100, channels=8):
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(z_dim, channels * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(channels * 4),
            nn.ReLU(),
            nn.ConvTranspose2d(channels * 4, channels * 2, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels * 2),
            nn.ReLU(),
            nn.ConvTranspose2d(channels * 2, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.net(z[:, :, None, None])


class Linear7(nn.Module):
    """A linear layer to 7x7, and kernels of 4 (or of 5, as in TensorFlow's tutorial)."""

    def __init__(self, z_dim=100, channels=8, kernel=4, act=nn.ReLU):
        super().__init__()
        c = channels
        geometry = {4: (4, 2, 1, 0), 5: (5, 2, 2, 1)}[kernel]
        self.project = nn.Sequential(
            nn.Linear(z_dim, c * 4 * 7 * 7, bias=False), nn.BatchNorm1d(c * 4 * 7 * 7), act()
        )
        stay = [nn.ConvTranspose2d(c * 4, c * 4, 5, 1, 2, bias=False), nn.BatchNorm2d(c * 4), act()]
        self.up = nn.Sequential(
            nn.Unflatten(1, (c * 4, 7, 7)),
            *(stay if kernel == 5 else []),
            nn.ConvTranspose2d(c * 4, c, *geometry, bias=False),
            nn.BatchNorm2d(c),
            act(),
            nn.ConvTranspose2d(c, 1, *geometry),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.up(self.project(z))


class Upsampling(nn.Module):
    """PyTorch-GAN's DCGAN: l1, then conv_blocks, where an eps of 0.8 was meant for a momentum."""

    def __init__(self, z_dim=100, size=32, channels=16, colours=1, mode="nearest"):
        super().__init__()
        self.init_size = size // 4
        self.l1 = nn.Sequential(nn.Linear(z_dim, channels * self.init_size**2))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Upsample(scale_factor=2, mode=mode),
            nn.Conv2d(channels, channels, 3, stride=1, padding=1),
            nn.BatchNorm2d(channels, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2, mode=mode),
            nn.Conv2d(channels, channels // 2, 3, stride=1, padding=1),
            nn.BatchNorm2d(channels // 2, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels // 2, colours, 3, stride=1, padding=1),
            nn.Tanh(),
        )

    def forward(self, z):
        maps = self.l1(z)
        return self.conv_blocks(maps.view(len(maps), -1, self.init_size, self.init_size))


class Named(nn.Module):
    """Layers by name, norms after all convolutions, activations in forward."""

    def __init__(self, z_dim=100, channels=8):
        super().__init__()
        c = channels
        self.deconv1 = nn.ConvTranspose2d(z_dim, c * 8, 4, 1, 0)
        self.deconv2 = nn.ConvTranspose2d(c * 8, c * 4, 4, 2, 1)
        self.deconv3 = nn.ConvTranspose2d(c * 4, c * 2, 4, 2, 1)
        self.deconv4 = nn.ConvTranspose2d(c * 2, c, 4, 2, 1)
        self.deconv5 = nn.ConvTranspose2d(c, 3, 4, 2, 1)
        self.bn1 = nn.BatchNorm2d(c * 8)
        self.bn2 = nn.BatchNorm2d(c * 4)
        self.bn3 = nn.BatchNorm2d(c * 2)
        self.bn4 = nn.BatchNorm2d(c)

    def forward(self, z):
        x = F.relu(self.bn1(self.deconv1(z[:, :, None, None])))
        x = F.relu(self.bn2(self.deconv2(x)))
        x = F.relu(self.bn3(self.deconv3(x)))
        x = F.relu(self.bn4(self.deconv4(x)))
        return torch.tanh(self.deconv5(x))


class Fc(nn.Module):
    """A course's DCGAN for 32x32: a linear layer without activation, then t_conv1 to t_conv3."""

    def __init__(self, z_dim=100, channels=8):
        super().__init__()
        self.channels = c = channels
        self.fc = nn.Linear(z_dim, c * 4 * 4 * 4)
        self.t_conv1 = self.deconv(c * 4, c * 2)
        self.t_conv2 = self.deconv(c * 2, c)
        self.t_conv3 = nn.Sequential(nn.ConvTranspose2d(c, 3, 4, 2, 1, bias=False))

    def deconv(self, before, after):
        conv = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(after))

    def forward(self, z):
        x = self.fc(z).view(-1, self.channels * 4, 4, 4)
        x = F.relu(self.t_conv1(x))
        x = F.relu(self.t_conv2(x))
        return torch.tanh(self.t_conv3(x))


class UpBlocks(nn.Module):
    """Blocks of upsampling and convolution, with a last convolution to colours."""

    def __init__(self, z_dim=128, channels=8, mode="nearest", act=nn.ReLU):
        super().__init__()
        c = channels
        self.start = nn.Linear(z_dim, c * 4 * 16)
        self.c = c
        self.mode = mode

        def block(before, after):
            corners = {} if mode == "nearest" else {"align_corners": True}
            return nn.Sequential(
                nn.Upsample(scale_factor=2, mode=mode, **corners),
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                act(),
            )

        self.block1 = block(c * 4, c * 2)
        self.block2 = block(c * 2, c)
        self.block3 = block(c, c)
        self.to_rgb = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z):
        x = self.start(z).reshape(-1, self.c * 4, 4, 4)
        return torch.tanh(self.to_rgb(self.block3(self.block2(self.block1(x)))))


class Mlp(nn.Module):
    """Linear layers only, as in Lightning's GAN."""

    def __init__(self, z_dim=100):
        super().__init__()
        widths, layers = [z_dim, 128, 256, 512], []
        for before, after in itertools.pairwise(widths):
            layers.append(nn.Linear(before, after))
            layers += [nn.BatchNorm1d(after, 0.8)] if layers[1:] else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.model = nn.Sequential(*layers, nn.Linear(512, 784), nn.Tanh())

    def forward(self, z):
        return self.model(z).view(-1, 1, 28, 28)


def trained(net, *, z_dim=100, latents=lambda z: z, seed=1):
    """The net with random weights as after a training, and the statistics of its BatchNorms."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.copy_(1 + 0.2 * torch.randn_like(module.weight))
                module.bias.copy_(0.2 * torch.randn_like(module.bias))
                module.momentum = None  # the mean of all batches, so that a few will do
        for _ in range(16):
            net(latents(torch.randn(32, z_dim)))
        net.eval()
        # Frames with contrast: half of the range, before the last activation.
        kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
        last = [module for module in net.modules() if isinstance(module, kinds)][-1]
        seen = []
        hook = last.register_forward_hook(lambda module, inputs, output: seen.append(output.std()))
        net(latents(torch.randn(16, z_dim)))
        hook.remove()
        last.weight *= 0.5 / seen[0]
        if last.bias is not None:
            last.bias *= 0.5 / seen[0]
    return net
