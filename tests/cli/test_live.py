import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.conftest import contents
from tests.generator.test_web_page import node, serving
from tests.training.test_loop import settings
from tests.waiting import wait_until
from vidgan.cli import live
from vidgan.training import loop
from vidgan.training.live import View
from vidgan.training.log import changes, logged

SMALL = "[model]\nwidth = 32\nheight = 32\nchannels = 8\n[train]\nbatch_size = 8\n"


@pytest.fixture
def training(pictures, tmp_path):
    """A run that trains in another process, with --live: its process, its folder, its address."""
    (tmp_path / "small.toml").write_text(SMALL)
    words = ("--recipe", "small.toml", "--for", "300s", "--live", pictures)
    command = [sys.executable, "-m", "vidgan", "train", *map(str, words)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stderr.readline, "")
            url = next(m[1] for line in lines if (m := re.search(r"steer: (http\S+)", line)))
            (run,) = (tmp_path / "runs").iterdir()
            wait_until(lambda: len(logged(run)) > 1, process)
            yield process, run, url
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def answered(url, method="GET", path="", body=None, **headers):
    """The status and the content that a server answers with."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, parts.path + path, body, headers)
        answer = connection.getresponse()
        stream = answer.headers.get_content_type() == "text/event-stream"
        return answer.status, answer.fp.readline() if stream else answer.read()


def test_a_person_watches_and_steers_a_run_in_a_browser(training, tmp_path):
    process, run, url = training
    for width, scheme in (("1280", "light"), ("390", "dark")):
        seen = node("live.mjs", url, width, scheme, tmp_path / f"{scheme}.png")
        assert seen["faults"] == [] and seen["fetched"] == [] and seen["overflow"] <= 0
        assert seen["small"] == [] and seen["unnamed"] == []
        assert (seen["lines"]["sure"], seen["lines"]["loss"]) == (2, 2)
    seen = node("live.mjs", url, "1280", "dark", tmp_path / "steered.png", "steer")
    assert seen["faults"] == [] and seen["fetched"] == [] and seen["overflow"] <= 0
    assert seen["stepped_to"] == seen["paused_at"] + 8 and seen["first"] == "0 images"
    assert process.wait(timeout=60) == 0
    (change,) = changes(run)
    assert 1e-5 < change.knobs.learning_rate_g < 4e-4 and change.images_seen == seen["stepped_to"]
    first, branch = sorted(run.parent.iterdir())
    assert first == run and f"vidgan train --resume {branch.relative_to(tmp_path)}" in seen["text"]
    before = contents(run)
    with serving_a_page_of(run) as url:
        seen = node("live.mjs", url, "1280", "light", tmp_path / "ended.png")
    assert "ended" in seen["text"] and "To train on: vidgan train --resume" in seen["text"]
    for word in ("Pause", "Branch", "Stop", "Knobs"):  # which would do nothing
        assert word not in seen["text"]
    assert contents(run) == before and seen["faults"] == []


@contextlib.contextmanager
def serving_a_page_of(run):
    page, secret = live.opened(View(run))
    with serving(page) as port:
        yield f"http://127.0.0.1:{port}/{secret}"


def test_nobody_reads_or_steers_without_the_address_or_from_another_origin(training):
    _, run, url = training
    host, word = urlsplit(url).netloc, urlsplit(url).path.strip("/")
    assert len(word) >= 22
    own, step = {"Origin": f"http://{host}"}, '{"do": "stop"}'
    bare = f"http://{host}/"
    for page in ("", "events", "numbers?0", f"numbers?{10**30}", "picture?reals.png"):
        assert answered(url, path=page)[0] == 200
        for wrong in ("", f"{word[:-1]}/", f"{word}x/", "../"):
            assert answered(f"{bare}{wrong}", path=page)[0] == 404
        assert answered(url, path=page, Host="evil.example")[0] == 421
        for origin in ("https://evil.example", "null", f"http://evil.{host}", "http://127.0.0.1"):
            assert answered(url, path=page, Origin=origin)[0] == 403
    assert answered(bare, "POST", "ask", step, **own)[0] == 404
    assert answered(url, "POST", "ask", step)[0] == 403
    for origin in ("https://evil.example", "null", f"https://{host}"):
        assert answered(url, "POST", "ask", step, Origin=origin)[0] == 403
    assert answered(url, "POST", "ask", step, Host="evil.example", **own)[0] == 421
    assert answered(url, "GET", "ask")[0] == 404
    assert not (run / "live" / "asked.jsonl").exists()
    assert answered(url, "POST", "ask", '{"do": "pause"}', **own)[0] == 200
    assert (run / "live" / "asked.jsonl").exists()
    for name in ("config.toml", "../../small.toml", "checkpoints", "live/now.json", "reals.png/"):
        assert answered(url, path=f"picture?{name}")[0] == 400


@pytest.mark.parametrize(
    "asked",
    [
        *("", "[]", "7", "{", '{"do": 3}', '{"do": "dance"}', '{"to": {"r1": 1}}', "9" * 9999),
        *('{"do": "turn", "to": 3}', '{"do": "turn", "to": {"images": 5}}'),
        *(
            f'{{"do": "turn", "to": {{"learning_rate_g": {value}}}}}'
            for value in ("-1", "1", "NaN", "1e999", '"x"', "[]", "null")
        ),
    ],
)
def test_nonsense_is_not_asked_for(asked, running):
    run, url = running
    host = urlsplit(url).netloc
    status, said = answered(url, "POST", "ask", asked, Origin=f"http://{host}")
    assert status == 400 and said and not (run / "live" / "asked.jsonl").exists()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The folder of a run that seems to train in this process, and its address."""
    import os

    run = tmp_path_factory.mktemp("runs") / "00000-x-dcgan32"
    (run / "live").mkdir(parents=True)
    (run / "lock.owner").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    (run / "live" / "now.json").write_text('{"steers": true, "knobs": {"learning_rate_g": 1}}')
    with serving_a_page_of(run) as url:
        yield run, url


def test_viewers_that_hang_cost_the_training_nothing_and_keep_nobody_out(training):
    process, run, url = training
    parts = urlsplit(url)
    hanging = []
    for _ in range(100):  # which never read what they asked for
        viewer = socket.create_connection((parts.hostname, parts.port))
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        viewer.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        hanging.append(viewer)
    seen = logged(run)[-1].images_seen
    status, first = answered(url, path="events")
    assert status == 200 and json.loads(first.removeprefix(b"data: "))["now"]["steers"]
    wait_until(lambda: logged(run)[-1].images_seen > seen, process)
    for viewer in hanging:
        viewer.close()


def test_the_page_of_a_run_of_hostile_names_and_numbers_is_only_text(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)
    run = loop.train(settings(pictures, images=32), runs=tmp_path / "runs")
    run = run.rename(run.with_name("@@DATA@@<img src=x onerror=alert(1)>"))
    with (run / "stats.jsonl").open("ab") as file:
        rows = [json.loads(line) for line in (run / "stats.jsonl").read_bytes().splitlines()]
        worse = rows[-1] | {"images_seen": 40, "flags": ["<img src=x onerror=alert(1)>"]}
        file.write(f"{json.dumps(worse)}\n".encode())
        file.write(
            b'\xff{\n{"images_seen": "<b>"}\n{"images_seen": 41, "knobs": {"<b>": 1}}\n[]\n7\n'
        )
    with serving_a_page_of(run) as url:
        seen = node("live.mjs", url, "390", "light", tmp_path / "page.png")
    assert seen["faults"] == [] and seen["fetched"] == [] and seen["overflow"] <= 0
    assert "At 40 images: <img src=x onerror=alert(1)>" in seen["text"]
    assert "@@DATA@@<img" in seen["text"]


def test_a_killed_run_has_ended(training):
    process, run, _ = training
    process.kill()
    process.wait()
    assert (run / "live" / "now.json").exists()
    with serving_a_page_of(run) as url:
        event = answered(url, path="events")[1]
        own = {"Origin": f"http://{urlsplit(url).netloc}"}
        status, said = answered(url, "POST", "ask", '{"do": "step"}', **own)
    assert json.loads(event.removeprefix(b"data: "))["now"] is None
    assert status == 400 and b"not training here" in said
