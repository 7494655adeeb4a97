from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import save_model, small_generator, vidgan, write_pictures
from tests.edit.test_invert import made, model, short  # noqa: F401 (fixtures)
from vidgan.edit import restore
from vidgan.edit.invert import Inverter, psnr
from vidgan.errors import DataError, UsageError


def written(name: str, picture: np.ndarray) -> str:
    Image.fromarray(picture).save(name)
    return name


def read(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


def square(side: int = 64) -> np.ndarray:
    """A mask with a hole of a quarter of the picture."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 255
    return mask


@pytest.fixture
def hole(model):  # noqa: F811
    original, mask = made(model), square()
    written("mask.png", mask)
    written("damaged.png", np.where(mask[..., None], 0, original).astype(np.uint8))
    return model, original, mask > 0


def test_a_hole_is_filled_and_all_else_stays_as_it_is(hole):
    model, original, missing = hole  # noqa: F811
    vidgan("restore", "damaged.png", "fixed.png", "--mask", "mask.png", "--model", model)
    fixed = read("fixed.png")
    assert np.array_equal(fixed[~missing], original[~missing])
    assert psnr(fixed[missing], original[missing]) > 20 > psnr(read("damaged.png"), original)


def test_a_large_picture_keeps_its_size_and_its_pixels(hole):
    model, original, _ = hole  # noqa: F811
    large = np.asarray(Image.fromarray(original).resize((200, 200)))
    written("large.png", large)
    written("mask.png", square(200))
    vidgan("restore", "large.png", "fixed.png", "--mask", "mask.png", "--model", model)
    fixed, missing = read("fixed.png"), square(200) > 0
    assert np.array_equal(fixed[~missing], large[~missing])
    assert psnr(fixed[missing], large[missing]) > 18


def test_noise_blur_and_too_few_pixels(model):  # noqa: F811
    original = made(model)
    noisy = original + np.random.default_rng(0).normal(0, 30, original.shape)
    written("noisy.png", noisy.clip(0, 255).astype(np.uint8))
    image = torch.from_numpy(original.copy())[None].permute(0, 3, 1, 2).float()
    blurred = restore.blurred(image, 2.0)[0].permute(1, 2, 0).numpy()
    written("blurred.png", blurred.round().astype(np.uint8))
    small = Image.fromarray(original).resize((16, 16), Image.Resampling.BOX)
    small.save("small.png")
    small.resize((64, 64), Image.Resampling.BICUBIC).save("bicubic.png")
    for damaged, before, *words in (
        ("noisy.png", "noisy.png", "--denoise"),
        ("blurred.png", "blurred.png", "--deblur"),
        ("small.png", "bicubic.png", "--upscale", 4),
    ):
        vidgan("restore", damaged, "fixed.png", *words, "--model", model, "--force")
        assert psnr(read("fixed.png"), original) > psnr(read(before), original) + 2, damaged


def test_several_answers_differ_where_the_picture_leaves_room(hole):
    model, original, missing = hole  # noqa: F811
    words = ("--mask", "mask.png", "--model", model, "--count", 3)
    vidgan("restore", "damaged.png", "fixed.png", *words)
    answers = [read(f"fixed-{n}.png") for n in (1, 2, 3)]
    assert all(np.array_equal(one[~missing], original[~missing]) for one in answers)
    assert len({one.tobytes() for one in answers}) == 3
    vidgan("restore", "damaged.png", "fixed.png", *words, "--force")
    assert np.array_equal(read("fixed-3.png"), answers[2])


def test_the_class_is_found(tmp_path):
    generator, config = small_generator(32, 32, ("a", "b", "c", "d"))
    with torch.no_grad():
        generator.embedding.weight *= 30
    file = save_model(tmp_path / "generator.safetensors", generator, config)
    written(tmp_path / "small.png", np.asarray(Image.fromarray(made(file, label=2)).resize((8, 8))))
    inverter = Inverter(file, device="cpu")
    damages = restore.opened(inverter.generator, tmp_path / "small.png", None, 4, False)
    (found,) = restore.restore(inverter, damages)
    assert psnr(found, made(file, label=2)) > 20


def test_what_is_not_of_the_generators_world_is_refused(model):  # noqa: F811
    write_pictures(Path("reals"), [made(model, seed) for seed in range(20)])
    Path("config.toml").write_text('[data]\nsource = "reals"\n')  # as in the folder of a run
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = (255, 0, 255)
    written("stripes.png", stripes)
    written("mask.png", square())
    with pytest.raises(DataError, match=r"stripes.png: not of this generator's world"):
        vidgan("restore", "stripes.png", "fixed.png", "--mask", "mask.png", "--model", model)
    assert not Path("fixed.png").exists()


def test_what_cannot_be_restored_is_named(hole):
    model, *_ = hole  # noqa: F811
    names = {"half.png": square(32), "none.png": square() * 0, "all.png": square() * 0 + 255}
    for name, mask in names.items():
        written(name, mask)
    written("wide.png", np.zeros((64, 128, 3), np.uint8))
    written("wide-mask.png", np.eye(64, 128, dtype=np.uint8) * 255)
    for error, match, *words in (
        (UsageError, "one of --mask"),
        (UsageError, "one of --mask", "--denoise", "--mask", "mask.png"),
        (UsageError, "--count 0", "--denoise", "--count", 0),
        (UsageError, "--upscale 7: this generator makes 64x64", "--upscale", 7),
        (UsageError, "--upscale 0: this", "--upscale", 0),
        (
            DataError,
            "half.png: another size than damaged.png, which has 64x64",
            "--mask",
            "half.png",
        ),
        (DataError, "none.png: marks nothing", "--mask", "none.png"),
        (DataError, "all.png: marks all", "--mask", "all.png"),
        (DataError, "absent.png: cannot be read", "--mask", "absent.png"),
    ):
        with pytest.raises(error, match=match):
            vidgan("restore", "damaged.png", "fixed.png", "--model", model, *words)
    with pytest.raises(DataError, match=r"wide.png: 128x64; crop it to the shape 64x64"):
        vidgan("restore", "wide.png", "fixed.png", "--model", model, "--mask", "wide-mask.png")
    assert not Path("fixed.png").exists()
