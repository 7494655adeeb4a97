import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import small_generator
from vidgan.errors import ModelError
from vidgan.generator import checkpoint
from vidgan.generator.synthesis import open_differentiable, open_generator


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "state.safetensors"
    facts = {"images_seen": 320}
    checkpoint.write(path, {"w": torch.arange(3.0)}, {"kind": "state", "facts": facts})
    return path


def test_no_byte_of_a_file_can_change_unnoticed(file):
    content = file.read_bytes()
    tensors, meta = checkpoint.read(file, kind="state")
    assert tensors["w"].tolist() == [0, 1, 2] and meta["facts"] == {"images_seen": 320}
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        with pytest.raises(ModelError, match=r"state\.safetensors: .*damaged"):
            checkpoint.read(file, kind="state")
    for cut in (0, 7, 100, len(content) - 1):
        file.write_bytes(content[:cut])
        with pytest.raises(ModelError, match=r"state\.safetensors: .*damaged"):
            checkpoint.read(file, kind="state")


def test_a_file_with_a_checksum_of_its_tensors_alone_opens_still(tmp_path, model_file):
    *_, facts = checkpoint.load_generator(model_file)
    generator, model = small_generator()
    tensors = generator.state_dict()
    meta = json.loads(json.dumps({"kind": "generator", "model": vars(model), "facts": facts}))
    header = {
        "vidgan": json.dumps(meta | {"format_version": 1, "vidgan_version": "0.1"}),
        "sha256": checkpoint._digest(tensors),
    }
    save_file(tensors, tmp_path / "old.safetensors", metadata=header)
    open_generator(tmp_path / "old.safetensors")
    tensors["layers.0.weight"] += 1
    save_file(tensors, tmp_path / "old.safetensors", metadata=header)
    with pytest.raises(ModelError, match="damaged"):
        open_generator(tmp_path / "old.safetensors")


def written(path, tensors=None, **meta):
    """A generator's file whose description a stranger wrote."""
    generator, model = small_generator()
    meta = {"kind": "generator", "model": asdict(model), "facts": {}} | meta
    checkpoint.write(path, generator.state_dict() if tensors is None else tensors, meta)
    return path


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"kind": ["generator"]}, r"kind = \['generator'\]: expected str"),
        ({"facts": ["earth"]}, r"facts = \['earth'\]: expected dict"),
        ({"facts": {"data": 3}}, "data = 3: expected str"),
        ({"facts": {"images_seen": float("nan")}}, "NaN"),
        ({"model": ["dcgan"]}, r"model = \['dcgan'\]: expected dict"),
        ({"model": {"z_dim": True}}, "model.z_dim = True: expected int"),
        ({"model": {"nmae": "x"}}, "unknown key model.nmae; did you mean model.name"),
        ({"model": {"width": 64, "height": 64}}, "left to the data"),
    ],
)
def test_a_description_of_other_kinds_names_the_key(tmp_path, meta, says):
    file = written(tmp_path / "g.safetensors", **meta)
    with pytest.raises(ModelError, match=rf"g\.safetensors: .*{says}"):
        checkpoint.load_generator(file)


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
def test_tensors_are_compared_with_the_model_before_it_takes_memory(tmp_path, name):
    sizes = {"z_dim": 65536, "channels": 65536}  # 8 terabytes
    model = {"name": name, "width": 64, "height": 64, **sizes}
    file = written(tmp_path / "g.safetensors", model=model)
    with pytest.raises(ModelError, match=r"do not fit its own model .* is .*, not "):
        checkpoint.load_generator(file)
    for key in sizes:
        file = written(tmp_path / "g.safetensors", model=model | {key: 10**9})
        with pytest.raises(ModelError, match=f"{key} = 1000000000: at most"):
            checkpoint.load_generator(file)


def test_many_anchors_of_many_classes_take_no_memory(tmp_path):
    """A network has a table of both, which no tensor of the file is as large as."""
    model = {"width": 64, "height": 64, "channels": 8, "anchors": 2**15}
    names = [str(number) for number in range(2**15)]
    file = written(tmp_path / "g.safetensors", model=model | {"class_names": names})
    with pytest.raises(ModelError, match=r"anchors = 32768: too many for 32768 classes"):
        checkpoint.load_generator(file)


def test_tensors_of_another_kind_are_refused(tmp_path):
    tensors = small_generator()[0].state_dict()
    for kind in (torch.float64, torch.float8_e4m3fn, torch.int32, torch.complex64):
        other = tensors | {"layers.0.weight": tensors["layers.0.weight"].to(kind)}
        file = written(tmp_path / "g.safetensors", other)
        with pytest.raises(ModelError, match=r"layers\.0\.weight is \w+ \[.*, not float32 \["):
            checkpoint.load_generator(file)


def test_a_header_that_lists_endless_tensors_is_not_read(tmp_path):
    one = b'"%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(one % number for number in range(90_000)) + b"}"
    file = tmp_path / "g.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match="not a model file of vidgan, or damaged"):
        checkpoint.load_generator(file)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, number):
    tensors = small_generator()[0].state_dict()
    tensors["layers.3.weight"][1, 2, 2, 2] = number
    file = written(tmp_path / "g.safetensors", tensors)
    for opened in (open_generator, open_differentiable):
        with pytest.raises(ModelError, match=r"g\.safetensors: layers\.3\.weight has NaN"):
            opened(file)


def test_finite_weights_that_make_no_numbers_are_refused_when_it_renders(tmp_path):
    tensors = small_generator()[0].state_dict()
    tensors["layers.1.running_var"].fill_(-1.0)  # its root is NaN
    generator = open_generator(written(tmp_path / "g.safetensors", tensors))
    with pytest.raises(ModelError, match=r"g\.safetensors: what it makes has NaN"):
        generator(np.zeros((1, 100), np.float32))
