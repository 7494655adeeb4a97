import pytest

from vidgan.errors import ModelError
from vidgan.generator import metadata

KINDS = {"name": str, "sizes": list[int], "note": str | None}
GOOD = '{"name": "a", "sizes": [1, 2], "more": {"x": [1.5, null, true]}}'


def test_what_is_asked_for_must_be_there_and_more_may_be(tmp_path):
    table = metadata.parse(GOOD, KINDS, where="x")
    assert table["sizes"] == [1, 2] and table["more"] == {"x": [1.5, None, True]}
    (tmp_path / "a.json").write_text(GOOD, encoding="utf-8-sig")
    assert metadata.read(tmp_path / "a.json", KINDS) == table


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "missing"),
        ("", "Expecting value"),
        ("[1]", r"it is \[1\] and not a table"),
        ('{"name": "a"}', "no sizes"),
        ('{"name": 1, "sizes": []}', "name = 1: expected str"),
        ('{"name": "a", "sizes": {}}', r"sizes = \{\}: expected list\[int\]"),
        ('{"name": "a", "sizes": [1, true]}', "sizes = .*true|sizes = .*True"),
        ('{"name": "a", "sizes": [1], "note": 2}', "note = 2: expected str"),
        ('{"name": "a", "sizes": [NaN]}', "NaN is no number"),
        ('{"name": "a", "sizes": [-Infinity]}', "-Infinity is no number"),
        ('{"name": "a", "sizes": [1e999]}', "1e999 is no number"),
        (f'{{"name": "a", "sizes": [{"1" * 21}]}}', "21 digits"),
        (f'{{"name": "a", "sizes": [{"1" * 9999}]}}', "9999 digits"),
        ("[" * 500 + "]" * 500, "too deep"),
        ('{"a":' * 100_000, "recursion"),
        (f'{{"name": "{"a" * metadata._LONGEST}"}}', "too long"),
        (b'{"name": "\xff"}', "utf-8"),
    ],
)
def test_anything_else_is_one_error_that_says_where(text, says):
    with pytest.raises(ModelError, match=rf"^a\.onnx: its key .*{says}") as error:
        metadata.parse(text, KINDS, where="a.onnx: its key")
    assert len(str(error.value)) < 250
