"""The script that people write today. `vidgan render` is measured against it.

    python tests/benchmarks/naive_render.py generator.safetensors out.mp4 120

torch makes one frame at a time, a list holds all frames, and imageio writes them at the end, in
their own size and with the colours that imageio makes of them. This needs
`pip install imageio imageio-ffmpeg`, which vidgan does not need.
"""

import sys
from pathlib import Path

import imageio
import numpy as np
import torch

from vidgan.generator.checkpoint import load_generator

model, target, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
generator, config, _ = load_generator(model)
keys = torch.randn(5, config.z_dim)

frames = []
with torch.no_grad():
    for t in np.linspace(0, len(keys) - 1, count, endpoint=False):
        i = int(t)
        z = torch.lerp(keys[i], keys[(i + 1) % len(keys)], float(t - i))
        image = generator(z[None])[0].permute(1, 2, 0)  # [3, H, W] -> [H, W, 3]
        frames.append(((image + 1) * 127.5).clamp(0, 255).byte().numpy())
imageio.mimwrite(target, frames, fps=30)
