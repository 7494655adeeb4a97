import json

import pytest

from vidgan.errors import ModelError, UsageError
from vidgan.generator import directions
from vidgan.generator.synthesis import open_generator

ENTRY = {"range": 2, "correlation": 0.95, "cosine": 0.99, "moves": {"warmer": 0.5}}
ENTRIES = {
    "brighter": ENTRY | {"vector": [0.5] * 100},
    "symmetric": ENTRY | {"vector": [0.1] * 100, "range": 0},
}


def test_directions_are_of_one_generator_and_of_what_was_exported_from_it(model_file, onnx_file):
    sha256 = open_generator(model_file).weights_sha256
    file = directions.write(model_file, sha256, ENTRIES)
    assert file == directions.file_of(onnx_file) and len(file.read_text().splitlines()) == 4
    assert directions.read(onnx_file, open_generator(onnx_file).weights_sha256) == ENTRIES
    with pytest.raises(ModelError, match="another generator; find them with: vidgan directions"):
        directions.read(model_file, "0" * 64)
    (entry,) = directions.entries_of(onnx_file, {"brighter": [-2, 2]})
    assert entry == {"name": "brighter", "strengths": [-2, 2], "vector": [0.5] * 100}
    for name, says in (("symmetric", "does not follow"), ("brigter", "known are brighter")):
        with pytest.raises(UsageError, match=says):
            directions.entries_of(model_file, {name: [1]})
    file.unlink()
    with pytest.raises(ModelError, match=r"is missing.*vidgan directions --model"):
        directions.entries_of(model_file, {"brighter": [1]})


@pytest.mark.parametrize("entry", [7, {"range": 1}, ENTRY | {"vector": ["a"]}])
def test_a_file_of_a_stranger_is_refused_in_a_line(entry, tmp_path):
    table = {"format": directions.FORMAT, "generator_sha256": "a", "directions": {"x": entry}}
    for content in (table, table | {"format": "x"}, {}):
        (tmp_path / "g.directions.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match=r"g\.directions\.json"):
            directions.read(tmp_path / "g.onnx", "a")
