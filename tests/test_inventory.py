"""Every fault of the inventory has tests that inject it."""

import ast
from pathlib import Path

from tests.faults.inventory import FAULTS

TESTS = Path(__file__).parent


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}


def test_every_fault_has_tests_that_inject_it():
    assert list(FAULTS) == list(range(1, 33))
    for number, fault in FAULTS.items():
        assert fault.tests, number
        for test in fault.tests:
            path, _, name = test.partition("::")
            assert name in functions(TESTS / path), test
