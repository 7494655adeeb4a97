"""The HTML pages that ship with vidgan: placeholders such as @@TITLE@@, and what replaces them."""

import json
import re
from collections.abc import Mapping


def filled(template: str, values: Mapping[str, str]) -> str:
    """Replace every @@KEY@@, all in one pass: a value that looks like a placeholder stays."""
    return re.sub(r"@@([A-Z]+)@@", lambda key: values[key[1]], template)


def script_json(content: object) -> str:
    """JSON for a <script> of a page, which it cannot end: no "<" is in it."""
    return json.dumps(content).replace("<", "\\u003c")
