import json

from vidgan.disk.templates import filled, script_json


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is(tmp_path):
    (tmp_path / "page.html").write_text("<h1>@@TITLE@@</h1>@@DATA@@ a@@b é", encoding="utf-8")
    values = {"TITLE": "@@DATA@@ of \\1", "DATA": "@@TITLE@@" * 3}
    page = filled(tmp_path / "page.html", values).decode()
    assert page == "<h1>@@DATA@@ of \\1</h1>@@TITLE@@@@TITLE@@@@TITLE@@ a@@b é"


def test_a_name_that_is_no_text_is_shown_by_its_bytes(tmp_path):
    (tmp_path / "page.html").write_text("<h1>@@TITLE@@</h1>")
    name = b"earth\xff".decode(errors="surrogateescape")  # as a folder may be called on Linux
    assert filled(tmp_path / "page.html", {"TITLE": name}) == b"<h1>earth\\udcff</h1>"


def test_no_value_ends_the_script_that_holds_it():
    content = {"names": ["</script><script>alert(1)</script>", "<!--", "\u2028"]}
    text = script_json(content)
    assert "<" not in text and json.loads(text) == content
