import json

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import small_generator
from vidgan.errors import ModelError
from vidgan.generator import checkpoint
from vidgan.generator.synthesis import open_generator


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
    _, model, facts = checkpoint.load_generator(model_file)
    generator, _ = small_generator()
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
