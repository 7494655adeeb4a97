"""What the README shows is run as it stands there."""

import re
from pathlib import Path

from vidgan.film.reader import read_frames

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_lines_of_python_in_the_readme_make_a_video(onnx_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "generator.onnx").write_bytes(onnx_file.read_bytes())
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 120


def test_every_command_and_option_in_the_readme_exists(capsys):
    from vidgan.cli.main import app

    commands = re.findall(r"^    vidgan (.*?)(?:  +#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 10
    for command in commands:
        app.parse_args(command, exit_on_error=False, print_error=False)
