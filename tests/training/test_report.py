import html
import json
import shutil
import subprocess
from pathlib import Path

from tests.training.test_loop import settings
from vidgan.generator import checkpoint
from vidgan.training import loop, report

SCRIPT = Path(__file__).parents[1] / "web" / "report.mjs"


def test_the_report_shows_the_run_in_a_browser(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)
    how = settings(pictures, images=320, distance_every_images=80, samples_every_images=80)
    run = loop.train(how, runs=tmp_path / "runs")
    _, _, best = checkpoint.load_generator(run / "generator.safetensors")
    for width, scheme in (("1280", "light"), ("390", "dark")):
        command = ["node", SCRIPT, run / "report.html", width, scheme, tmp_path / "page.png"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert seen["faults"] == [] and seen["fetched"] == []  # the page needs nothing else
        assert seen["lines"] == {"distance": 1, "loss": 2, "sure": 2, "variety": 2}
        assert seen["dots"]["variety"] == 5  # where samples were made, of 40 lines of the log
        assert seen["loaded"] and seen["overflow"] <= 0
        assert seen["first"]["at"] == "0 images" and seen["last"]["at"] == "320 images"
        assert seen["first"]["picture"] != seen["last"]["picture"]
        assert f"{best['images_seen']} images, recall" in seen["summary"]
        assert 'source = "' in seen["text"] and "Command" in seen["text"]
        light = sum(map(int, seen["ground"].strip("rgb()").split(","))) > 380
        assert light == (scheme == "light")
    page = (run / "report.html").read_text()
    assert page.count("</script>") == 2 and "@@" not in page


def test_a_run_of_hostile_names_fills_the_page_once(pictures, tmp_path):
    run = tmp_path / "@@CONFIG@@<b>"
    run.mkdir()
    source = f"@@DATA@@ @@TITLE@@ </script>{tmp_path}"
    text = f"[model]\nclass_names = ['<b>&', '@@DATA@@']\n[data]\nsource = '{source}'\n"
    (run / "config.toml").write_text(text)
    for name in ("reals.png", "samples000000000.png"):
        shutil.copy(pictures / "00.png", run / name)
    report.write(run, [], (30, 18_000))
    assert "decoded: 30 of about 18,000 frames." in (run / "report.html").read_text()
    report.write(run, [])
    page = (run / "report.html").read_text()
    assert "decoded" not in page
    assert page.count('"curves"') == 1 and page.count("</script>") == 2
    assert html.escape(f"source = '{source}'") in page
    assert "row by row: 0 &lt;b&gt;&amp;, 1 @@DATA@@." in page
    assert page.count(f"<title>{html.escape(run.name)}</title>") == 1
