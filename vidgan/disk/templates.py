"""The HTML pages that ship with vidgan: placeholders such as @@TITLE@@, and what replaces them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path


def filled(template: Path, values: Mapping[str, str]) -> bytes:
    """Replace every @@KEY@@, all in one pass: a value that looks like a placeholder stays.

    The values are HTML. A file's name may hold bytes that are no text; they become escapes.
    """
    text = template.read_text(encoding="utf-8")
    page = re.sub(r"@@([A-Z]+)@@", lambda key: values[key[1]], text)
    return page.encode(errors="backslashreplace")


def script_json(content: object) -> str:
    """JSON for a <script> of a page, which it cannot end: no "<" is in it."""
    return json.dumps(content).replace("<", "\\u003c")
