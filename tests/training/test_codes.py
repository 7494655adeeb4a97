"""Latents of real pictures, from which the generator learns to paint these again."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import flat_pictures, write_pictures
from tests.films import noise, write
from tests.training.test_loop import newest_state, settings
from tests.training.test_state import opened, rewrite
from vidgan import config
from vidgan.data import cache
from vidgan.generator import synthesis
from vidgan.networks import pixels
from vidgan.training import codes, loop
from vidgan.training.batches import batches
from vidgan.training.step import Step


@pytest.fixture
def smooth(tmp_path):
    """300 pictures of smooth random colours."""
    coarse = np.random.default_rng(0).normal(128, 40, (300, 4, 4, 3)).clip(0, 255).astype(np.uint8)
    frames = np.repeat(np.repeat(coarse, 8, 1), 8, 2)
    return write_pictures(tmp_path / "smooth", frames)


def reals(run, numbers):
    return pixels.to_float(torch.from_numpy(run.dataset.take(numbers)))


def test_codes_spread_as_latents_do_in_each_direction(smooth, tmp_path):
    run = opened(smooth, tmp_path, model={"z_dim": 40})
    made = run.state.codes
    x = codes.small(reals(run, np.arange(300))).flatten(1)
    all_codes = (x - made[0]) @ made[1:].T
    assert all_codes.mean(0).abs().max() < 1e-4
    assert torch.allclose(all_codes.T @ all_codes / 300, torch.eye(39), atol=0.02)


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (8, 250)])
def test_a_small_picture_is_that_of_areas_and_so_is_its_gradient(size):
    image = torch.randn(2, 3, *size, requires_grad=True)
    wanted = torch.nn.functional.interpolate(image, (16, 16), mode="area")
    torch.testing.assert_close(codes.small(image), wanted)
    weight = torch.randn(2, 3, 16, 16)
    ours, theirs = (torch.autograd.grad(x, image, weight) for x in (codes.small(image), wanted))
    torch.testing.assert_close(ours, theirs)


def test_half_of_the_latents_are_codes_of_their_length(smooth, tmp_path):
    run = opened(smooth, tmp_path)
    real, z = reals(run, np.arange(10)), torch.randn(10, 100)
    made = codes.of_reals(real, run.state.codes, z, run.state.generator)
    assert torch.allclose(made.norm(dim=1), z[:5].norm(dim=1), rtol=1e-4)
    brighter = codes.of_reals(real + 0.01, run.state.codes, z, run.state.generator)
    likeness = torch.nn.functional.cosine_similarity(made[:, None], brighter[None], dim=-1)
    assert (likeness.argmax(1) == torch.arange(5)).all()


def test_only_what_a_code_can_say_counts_and_only_for_fakes_of_codes():
    real = torch.rand(4, 3, 64, 64)
    fake = real.clone()
    fake[2:] = 0.0  # of latents that are no codes
    fake[:2] = fake[:2].unflatten(-1, (16, 4)).flip(-1).flatten(-2)  # detail at another place
    assert codes.distance(fake, real) < 1e-3
    fake[0] += 0.5
    assert codes.distance(fake, real) == pytest.approx(0.125, abs=1e-3)
    fake = real.clone()
    fake[:2, :, ::2] += 0.25  # more detail, finer than 16 pixels a side
    fake[:2, :, 1::2] -= 0.25
    assert codes.distance(fake, real) > 0.05
    assert codes.distance(fake, real, contrast=False) < 1e-3


@pytest.mark.parametrize("size", [(64, 64), (40, 56), (32, 32)])
def test_a_generator_is_told_the_layout_of_a_code(smooth, tmp_path, size):
    width, height = size
    run = opened(smooth, tmp_path, model={"width": width, "height": height})
    generator, real = run.state.generator, reals(run, np.arange(300))
    painted = generator.layout(codes.of(real, run.state.codes, generator))
    assert [tuple(one.shape[2:]) for one in painted][1] == (height, width)
    for one in painted:  # as far from the real as its small picture is
        mean = real.mean(0)
        assert (codes.small(one) - codes.small(real)).square().mean() < 0.05 * (
            codes.small(real) - codes.small(mean[None])
        ).square().mean()


def test_without_layouts_a_run_is_as_it_was_before_there_were_any(smooth, tmp_path, monkeypatch):
    run = opened(smooth, tmp_path, layout=False)
    assert run.state.generator.layout is None
    assert len(run.state.codes) == 1 + run.settings.model.z_dim  # no number is of the contrast
    monkeypatch.setattr(codes, "_CONTRAST", float("nan"))
    assert Step(run)(next(batches(run))).loss_g.isfinite()  # contrast has no part in it


def test_where_motion_matters_near_frames_get_near_codes(tmp_path):
    x, y = np.arange(32), np.arange(32)[:, None]
    at = np.stack([16 + 9 * np.cos(np.arange(200) / 7), 16 + 9 * np.sin(np.arange(200) / 10)], 1)
    discs = [(np.hypot(x - cx, y - cy) < 5)[..., None].repeat(3, -1) * 255 for cx, cy in at]
    source = write_pictures(tmp_path / "film", np.stack(discs).astype(np.uint8))

    def likeness(motion, apart):
        run = opened(source, tmp_path, motion=motion)
        code = codes.of(reals(run, np.arange(200)), run.state.codes, run.state.generator)
        return torch.nn.functional.cosine_similarity(code[apart:], code[:-apart]).mean()

    assert likeness(True, 1) > 0.5 > 0.3 > likeness(False, 1)
    assert likeness(True, 20) < 0.2  # those that are not near stay apart


def test_once_a_film_is_decoded_its_codes_are_made_of_all_of_it(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", noise(40), scale=2)
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    monkeypatch.setattr(cache.Later, "is_there", lambda later: bool(later.get()))
    keys = {"images": 24, "duration_s": 600, "motion": True}
    run = loop.train(settings(film, **keys), runs=tmp_path / "runs")
    state = opened(film, tmp_path, **keys).state
    assert np.array_equal(newest_state(run)["codes"], state.codes)
    assert np.array_equal(newest_state(run)["average/anchors"], state.average.anchors)


def test_where_motion_matters_faint_changes_count_too():
    real = torch.rand(4, 3, 64, 64)
    assert codes.distance(real, real, motion=True) == 0
    faint = real + 0.02 * torch.randn_like(real).sign()
    more = codes.distance(faint, real, motion=True) - codes.distance(faint, real)
    assert more > 0.01


def test_a_generator_paints_what_codes_say(pictures, tmp_path):
    def far(weight):
        """The distance of pictures painted from codes, relative to that of pictures by chance."""
        keys = {"images": 3_000, "augment": "none", "ema_halflife_images": 200, "batch_size": 20}
        chosen = settings(pictures, code_weight=weight, learning_rate_g=1e-3, **keys)
        folder = loop.train(chosen, runs=tmp_path)
        generator = synthesis.open_generator(folder / "generator.safetensors")
        run = opened(pictures, folder)
        real = reals(run, np.arange(40))
        code = codes.of_reals(
            real.repeat(2, 1, 1, 1), run.state.codes, torch.randn(80, 100), run.state.generator
        )
        fake = pixels.to_float(torch.from_numpy(generator(code.numpy())))
        return codes.distance(fake, real) / codes.distance(fake.flip(0), real)

    assert far(10.0) < 0.3 < 0.5 < far(0.0)


def test_a_generator_keeps_codes_of_pictures_as_anchors(pictures, tmp_path):
    folder = loop.train(settings(pictures, images=160), runs=tmp_path)
    assert config.load(folder / "config.toml").model.anchors == codes.ANCHORS
    tensors = load_file(folder / "generator.safetensors")
    run = opened(pictures, folder)
    code = codes.of_reals(
        reals(run, np.arange(40)), run.state.codes, torch.ones(80, 100), run.state.generator
    )
    likeness = torch.nn.functional.normalize(code) @ tensors["anchors"].T
    assert likeness.amax(1).min() > 0.999


def test_pictures_without_a_difference_have_codes_too(tmp_path):
    source = write_pictures(tmp_path / "same", flat_pictures()[[0] * 20])
    folder = loop.train(settings(source, images=40), runs=tmp_path)
    assert all(np.isfinite(tensor).all() for tensor in newest_state(folder).values())


def test_a_run_from_before_codes_goes_on_without_them(pictures, tmp_path):
    folder = loop.train(settings(pictures, images=160), runs=tmp_path)
    assert "codes" in newest_state(folder)
    names = ("codes", "generator/anchors", "average/anchors")
    for path in (folder / "checkpoints").iterdir():
        rewrite(path, lambda tensors, facts, meta: [tensors.pop(name) for name in names])
    recipe = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(recipe.replace(f"anchors = {codes.ANCHORS}\n", ""))
    chosen = config.load(folder / "config.toml")
    loop.train(chosen, runs=tmp_path, resume=folder, more_s=0.5)
    assert not {"codes", "average/anchors"} & newest_state(folder).keys()
