import json

from vidgan.disk.templates import filled, script_json


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is():
    values = {"TITLE": "@@DATA@@ of \\1", "DATA": "@@TITLE@@" * 3}
    page = filled("<h1>@@TITLE@@</h1>@@DATA@@ a@@b", values)
    assert page == "<h1>@@DATA@@ of \\1</h1>@@TITLE@@@@TITLE@@@@TITLE@@ a@@b"


def test_no_value_ends_the_script_that_holds_it():
    content = {"names": ["</script><script>alert(1)</script>", "<!--", "\u2028"]}
    text = script_json(content)
    assert "<" not in text and json.loads(text) == content
