"""The law of the house: who may import whom, what an import costs, how much code there is."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidgan import config

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "vidgan"
# Each may import only from those before it.
PACKAGES = (
    *("errors", "config", "signals", "disk", "marks", "latent", "film", "data", "networks"),
    *("generator", "quality", "render", "edit", "training", "cli", "__main__"),
)
MODULES = sorted(LIBRARY.rglob("*.py"))
CODE = [path for path in MODULES if path.name != "__init__.py"]
NO_TORCH = ("disk", "marks", "latent", "film", "render", "cli")


def place(library: Path, name: str) -> tuple[int, int] | None:
    """Of a dotted name such as "film.codecs": the number of its package, and of its module there,
    as the package's docstring lists them. None for the library itself (`vidgan.__version__`)."""
    package, _, inside = name.partition(".")
    if package not in PACKAGES:
        return None
    if not (library / package).is_dir() or not inside:
        return PACKAGES.index(package), 0
    return PACKAGES.index(package), listed(library / package).index(inside.partition(".")[0])


def listed(package: Path) -> list[str]:
    """The modules that a package's docstring lists: indented, two spaces before what they do."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()), clean=False)
    return re.findall(r"^    (\w+)  +\w", docstring, flags=re.MULTILINE)


def imported(module: Path) -> Iterator[str]:
    """Dotted names below the library that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.removeprefix("vidgan.") for name in names if name.startswith("vidgan."))


def unlawful(library: Path) -> list[str]:
    """The imports that do not point to a package, or to a module in it, that comes before."""
    found = []
    for path in sorted(library.rglob("*.py")):
        name = ".".join(path.relative_to(library).with_suffix("").parts)
        if name.endswith("__init__"):
            continue
        for other in imported(path):
            if (target := place(library, other)) and target >= place(library, name):
                found.append(f"{name} imports {other}")
    return found


def test_imports_point_to_what_comes_before():
    assert unlawful(LIBRARY) == []


def test_an_unlawful_import_is_found_in_the_depth_of_a_package(tmp_path):
    files = {
        "film/__init__.py": '"""Modules.\n\n    codecs  a\n    reader  b\n"""\n',
        "film/codecs.py": "from vidgan.film.reader import x\n",
        "film/reader.py": "def f():\n    from vidgan.data import order\n",
        "data/__init__.py": '"""Modules.\n\n    order  a\n"""\n',
        "data/order.py": "from vidgan.film import reader\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = ["film.codecs imports film.reader.x", "film.reader imports data.order"]
    assert unlawful(tmp_path) == found


@pytest.mark.parametrize(
    "package", [p.parent for p in MODULES if p.name == "__init__.py"], ids=lambda p: p.name
)
def test_a_package_lists_its_modules_and_holds_no_code(package):
    if package != LIBRARY:
        assert not code_lines(package / "__init__.py")
        modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
        assert sorted(listed(package)) == sorted(modules - {"__init__", "__pycache__"})


def test_the_tests_mirror_the_packages():
    for test in (ROOT / "tests").glob("*/test_*.py"):
        module = LIBRARY / test.parent.name / test.name.removeprefix("test_")
        assert module.is_file(), test


def test_importing_vidgan_and_all_that_renders_loads_no_torch():
    names = [path.relative_to(ROOT).with_suffix("") for path in CODE]
    modules = [".".join(n.parts) for n in names if len(n.parts) > 2 and n.parts[1] in NO_TORCH]
    code = f"import sys, {', '.join(modules)}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("model", "words", "absent"),
    [
        ("onnx_file", ("render", "out.mp4", "--frames", "3", "--model"), "torch"),
        ("onnx_file", ("verify",), "torch onnx"),
        # What torch compiles with takes a second to import.
        ("model_file", ("render", "out.mp4", "--frames", "3", "--model"), "torch._dynamo"),
    ],
)
def test_a_verb_imports_no_torch_that_it_does_not_need(model, words, absent, request, tmp_path):
    file = str(request.getfixturevalue(model))
    code = (
        "import sys\n"
        "from vidgan.cli.main import app\n"
        f"app({[*words, file]}, result_action='return_value')\n"
        f"assert not set({absent.split()}) & set(sys.modules)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert "3 frames" in printed


def test_the_library_keeps_its_budget():
    """In lines of code, that is, neither blank nor comment nor docstring."""
    sizes = {path: len(code_lines(path)) for path in MODULES}
    assert sum(sizes.values()) <= 12_875
    assert {path: size for path, size in sizes.items() if size > 300} == {}


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_functions_are_short_and_take_few_parameters(path):
    lines = code_lines(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            size = len(lines & set(range(node.lineno, node.end_lineno + 1)))
            assert size <= (100 if path.match("training/loop.py") else 60), f"{node.name}: {size}"
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            verb = path.parent.name == "cli"
            assert verb or len(arguments) <= 8, f"{node.name}: {len(arguments)} parameters"


def code_lines(path: Path) -> set[int]:
    source = path.read_text()
    aside = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in aside | {tokenize.ENDMARKER}
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        if documented and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


@pytest.mark.parametrize("recipe", sorted((ROOT / "train").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid(recipe):
    config.load(recipe)


def test_a_wheel_holds_the_package_and_what_it_bundles_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = map(zipfile.ZipFile, tmp_path.glob("*.whl"))
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"vidgan"}
    built = ("_bundled/export/web/built/page.html", "_bundled/export/web/built/lab.html")
    pages = ("training/report.html", "edit/dissect.html", *built)
    assert {f"vidgan/{page}" for page in pages} < {*names}
    own = ("generator.safetensors", "generator.encoder.safetensors", "generator.directions.json")
    for name in ("assets/earth.mp4", *(f"assets/{name}" for name in own), "train/tiny.toml"):
        assert f"vidgan/_bundled/{name}" in names
    wheel.extractall(tmp_path / "site")
    code = "from vidgan.disk.places import bundled; print(bundled('assets/earth.mp4'))"
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, cwd=tmp_path / "site", text=True)
    assert Path(found.strip()).is_relative_to(tmp_path / "site")
