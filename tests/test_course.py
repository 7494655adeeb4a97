"""The notebooks of train/course run as they are, from top to bottom, and show what they say.

What a notebook says of its numbers, its last cell of code asserts.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

COURSE = Path(__file__).parent.parent / "train" / "course"
NOTEBOOKS = sorted(COURSE.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
_MOST_CPU_S = 180  # of all threads together, so that two cores take less


@each
@pytest.mark.slow
@pytest.mark.filterwarnings("default::DeprecationWarning")  # of Jupyter's own packages
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    timed = "import time\nprint(time.process_time())"
    notebook.cells.append(nbformat.v4.new_code_cell(timed, id="timed"))
    place = {"metadata": {"path": str(tmp_path)}}  # what it writes, it writes there
    options = {"timeout": 1200, "startup_timeout": 600, "kernel_name": "python3"}
    NotebookClient(notebook, resources=place, **options).execute()
    *outputs, cpu = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert float(cpu["text"]) < _MOST_CPU_S
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert len({"image/png", "text/html"} & {*shown}) and len(shown) >= 3  # its pictures
    assert not [o["text"] for o in outputs if o.get("name") == "stderr" and "Warning" in o["text"]]


@each
def test_a_notebook_is_stored_for_students(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)  # the first with ids of cells
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert "assert " in code[-1].source
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    exercises = re.findall(r"<summary><b>Exercise (\d)\.</b>", prose)
    assert exercises == [str(number + 1) for number in range(len(exercises))] and exercises
    assert prose.count("<details>") == prose.count("</details>") == len(exercises)
    assert "**Sources.**" in prose


def test_the_page_of_the_course_names_every_notebook():
    named = re.findall(r"\]\((\S+\.ipynb)\)", (COURSE / "README.md").read_text(encoding="utf-8"))
    assert named == [path.name for path in NOTEBOOKS]
