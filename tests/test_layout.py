"""The law of the house: who may import whom, what import costs, how much code there is."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from vidgan import bundled, config

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vidgan"
# Each row may import only from rows above it.
ROWS = (
    {"errors", "__init__"},
    {"bundled", "config", "latents", "provenance", "footage", "pictures", "terminal"},
    {
        "losses",
        "augment",
        "unrolled",
        "runtime",
        "signing",
        "preview",
        "assembly",
        "variants",
        "codecs",
    },
    {"trajectory", "encoders", "dcgan", "named_sets", "watch", "selftest", "features"},
    {"audio"},
    {"video", "sources", "r3gan"},
    {"data", "checkpoint"},
    {"synthesis", "import_weights", "segments", "validation"},
    {"render", "export"},
    {"runs", "page", "pacing", "mosaic", "evaluate"},
    {"recipe", "report"},
    {"inputs", "launch"},
    {"train"},
    {"doctor", "cli_render", "cli_export"},
    {"cli"},
    {"__main__"},
)
ROW = {name: row for row, names in enumerate(ROWS) for name in names}


def imported(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vidgan"):
            below = node.module.removeprefix("vidgan").removeprefix(".")
            names |= {below} if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("vidgan.")}
    return names - {"__version__"}


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_only_from_rows_above_it(module):
    for name in imported(module):
        assert ROW[name] < ROW[module.stem], f"{module.stem} imports {name}"


def test_importing_vidgan_and_asking_for_help_loads_no_torch():
    code = (
        "import sys, vidgan, vidgan.cli, vidgan.trajectory, vidgan.render, vidgan.video\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rendering_an_onnx_file_loads_no_torch(onnx_file, tmp_path):
    code = (
        "import sys\n"
        "from vidgan.cli import app\n"
        f"app(['render', '--frames', '3', '--model', {str(onnx_file)!r}, "
        f"{str(tmp_path / 'out.mp4')!r}], result_action='return_value')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_keeps_its_budget():
    """6,000 lines of code, that is, neither blank nor comment nor docstring."""
    assert sum(len(_code_lines(path)) for path in PACKAGE.glob("*.py")) <= 6000


def _code_lines(path):
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


def test_bundled_files_are_found_in_a_checkout():
    assert bundled.bundled("assets/earth.mp4").is_file()


def test_a_wheel_holds_the_package_and_what_it_bundles_and_nothing_else(tmp_path):
    import zipfile

    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"vidgan"}
    assert "vidgan/_bundled/assets/earth.mp4" in names
    assert "vidgan/_bundled/assets/generator.safetensors" in names
    assert "vidgan/report.html" in names
    assert "vidgan/_bundled/train/tiny.toml" in names
    assert "vidgan/_bundled/export/web/built/page.html" in names
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), tmp_path / "site"], check=True
    )
    code = "from vidgan.bundled import bundled; print(bundled('assets/earth.mp4'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path / "site",
    ).stdout
    assert Path(found.strip()).is_relative_to(tmp_path / "site")
