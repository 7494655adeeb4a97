import shutil

import pytest
import torch

from tests.conftest import flat_pictures, write_pictures
from tests.training.test_loop import newest_checkpoint, settings
from vidgan.errors import ModelError
from vidgan.generator import checkpoint
from vidgan.training import loop, setup
from vidgan.training.state import Run, restore, save


def opened(source, folder, **keys):
    """A run in a folder, as it is before its first step."""
    chosen, dataset = setup.open_data(settings(source, **keys))
    fabric = setup.launch(chosen)
    return Run(chosen, dataset, fabric, setup.build(chosen, fabric, dataset), folder)


def weights(state):
    networks = (state.generator, state.discriminator, state.average)
    return [tensor.clone() for network in networks for tensor in network.state_dict().values()]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGAN_CACHE", str(folder / "cache"))
        pictures = write_pictures(folder / "pictures", flat_pictures())
        return loop.train(settings(pictures, images=320), runs=folder)


@pytest.fixture
def trained(trained_once, tmp_path):
    """A run with checkpoints at 160 and 320 images."""
    return shutil.copytree(trained_once, tmp_path / "run")


def rewrite(path, change):
    """Change the tensors, the facts and the description of a checkpoint, whose checksum fits."""
    tensors, meta = checkpoint.read(path, kind="training state")
    change(tensors, meta["facts"], meta)
    checkpoint.write(path, tensors, meta)


UNUSABLE = {
    "no facts": lambda tensors, facts, meta: meta.pop("facts"),
    "facts of another kind": lambda tensors, facts, meta: meta.update(facts=[1]),
    "no images seen": lambda tensors, facts, meta: facts.pop("images_seen"),
    "images seen as text": lambda tensors, facts, meta: facts.update(images_seen="320"),
    "fewer than none": lambda tensors, facts, meta: facts.update(images_seen=-320),
    "of other images": lambda tensors, facts, meta: facts.update(images_seen=960),
    "no fingerprint": lambda tensors, facts, meta: facts.pop("data_fingerprint"),
    "measured is no list": lambda tensors, facts, meta: facts.update(measured=7),
    "measured what": lambda tensors, facts, meta: facts.update(measured=[{"distance": "far"}]),
    "time as text": lambda tensors, facts, meta: facts.update(trained_s="long"),
    "knobs of another kind": lambda tensors, facts, meta: facts.update(knobs={"r1": "much"}),
    "a knob beyond its end": lambda tensors, facts, meta: facts.update(knobs={"r1": -1.0}),
    "no average": lambda tensors, facts, meta: tensors.pop("average/layers.0.weight"),
    "another shape": lambda tensors, facts, meta: tensors.update(
        {"average/layers.0.weight": torch.zeros(3)}
    ),
    "a moment is missing": lambda tensors, facts, meta: tensors.pop("adam_d/0/exp_avg"),
    "a moment of nothing": lambda tensors, facts, meta: tensors.update(
        {"adam_g/99/step": torch.zeros(())}
    ),
    "a moment of another name": lambda tensors, facts, meta: tensors.update(
        {"adam_g/first/step": torch.zeros(())}
    ),
    "ada of another shape": lambda tensors, facts, meta: tensors.update(ada=torch.zeros(2)),
}


@pytest.mark.parametrize("way", UNUSABLE)
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_one_before_is_whole(
    trained, pictures, way, said
):
    newest = newest_checkpoint(trained)
    rewrite(newest, UNUSABLE[way])
    run = opened(pictures, trained, images=320)
    restore(run)
    assert run.state.images_seen == 160
    (line,) = [line for line in said if "Trying" in line]
    assert newest.name in line and "\n" not in line
    newest.unlink()
    alone = opened(pictures, trained, images=320)
    restore(alone)
    assert all(map(torch.equal, weights(run.state), weights(alone.state)))


def test_no_flipped_digit_is_believed_and_without_a_good_checkpoint_nothing_is_restored(
    trained, pictures, said
):
    for path in (trained / "checkpoints").iterdir():
        images = f'\\"images_seen\\": {int(path.stem)}'.encode()
        content = path.read_bytes()
        assert content.count(images) == 1
        path.write_bytes(content.replace(images, images[:-3] + b"9" + images[-2:]))
    run = opened(pictures, trained, images=320)
    before = weights(run.state)
    with pytest.raises(ModelError, match="no good checkpoint"):
        restore(run)
    assert all(map(torch.equal, weights(run.state), before)) and run.state.images_seen == 0
    assert sum("damaged" in line for line in said) == 2


def test_copies_that_a_user_made_are_neither_counted_nor_deleted(trained, pictures):
    folder = trained / "checkpoints"
    copies = [folder / name for name in ("0-good.safetensors", "z-good.safetensors")]
    for copy in copies:
        shutil.copy(newest_checkpoint(trained), copy)
    (folder / "notes.safetensors").mkdir()
    run = opened(pictures, trained, images=320)
    restore(run)
    assert run.state.images_seen == 320
    run.state.images_seen = 400
    save(run)
    names = {path.stem for path in folder.iterdir()}
    assert names == {"0-good", "z-good", "notes", f"{320:012d}", f"{400:012d}"}


def test_a_checkpoint_newer_than_the_one_resumed_from_displaces_none(trained, pictures):
    run = opened(pictures, trained, images=320, keep_checkpoints=1)
    newest_checkpoint(trained).write_bytes(b"damaged")
    restore(run)
    run.state.images_seen = 240
    save(run)
    assert (trained / "checkpoints" / f"{240:012d}.safetensors").exists()
