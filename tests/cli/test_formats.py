from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from tests.conftest import save_model, small_generator, vidgan
from tests.film.test_alpha import with_alpha
from vidgan.cli.formats import FileOptions, sized, target_of
from vidgan.errors import UsageError


@pytest.mark.parametrize(
    ("sides", "size"),
    [((64, 64), (720, 720)), ((128, 72), (1280, 720)), ((72, 128), (720, 1280))],
)
def test_a_film_for_the_web_has_its_own_shape_and_a_size_that_loads(sides, size):
    target = target_of("out.mp4", file := FileOptions(for_web=True), fps="30")
    assert target.codec.encoder == "libx264" and target.codec.pixel_format == "yuv420p"
    made = SimpleNamespace(width=sides[0], height=sides[1], planes=3)
    assert sized(target, file, made).resolution == size
    file = FileOptions(for_web=True, resolution="640x360")
    target = target_of("out.mp4", file, fps="30")
    assert sized(target, file, made).resolution == (640, 360)


def test_presets_make_what_they_say(onnx_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    render = ["render", "--model", onnx_file, "--frames", 3]
    vidgan(*render, "--for-phone", "--fit", "blur", "phone.mp4")
    vidgan(*render, "--for-web", "web.mp4")
    for name, size in (("phone", (1080, 1920)), ("web", (720, 720))):
        data = (tmp_path / f"{name}.mp4").read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")  # it plays before it is whole
        with av.open(f"{name}.mp4") as film:
            context = film.streams.video[0].codec_context
            assert (context.width, context.height) == size
            assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    vidgan(*render, "--for-chat", "chat.gif")
    with Image.open("chat.gif") as picture:
        assert picture.size == (512, 512)


def test_what_is_behind_transparency_is_a_colour_or_a_picture_or_said(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "clear.safetensors", *small_generator(colours=4))
    Image.new("RGB", (40, 20), (20, 60, 200)).save("photo.png")
    render = ["render", "--model", "clear.safetensors", "--frames", 2, "--scale", 2]
    films = []
    for number, ground in enumerate(("144cc8", "#143cc8", "photo.png", None)):
        vidgan(*render, *(["--background", ground] if ground else []), f"{number}.mkv")
        films.append(with_alpha(tmp_path / f"{number}.mkv"))
    *on_blue, clear = films
    assert (clear[..., 3] < 255).any() and (films[0][..., 3] == 255).all()
    assert np.array_equal(on_blue[1], on_blue[2]) and not np.array_equal(*on_blue[:2])
    capsys.readouterr()
    vidgan(*render, "out.mp4")
    assert "h264 has no transparency, so this is on white" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [("a.gif", {}, 3_000_000), ("a.webp", {"max_size": "500 kB"}, 500_000)],
)
def test_a_film_for_messages_has_at_most_3_mb_or_what_is_asked(name, options, most):
    assert target_of(name, FileOptions(for_chat=True, **options), fps="30").most_bytes == most


@pytest.mark.parametrize(
    ("name", "preset", "options", "says"),
    [
        ("a.gif", "for_web", {}, "--for-web: makes .mp4, not a.gif"),
        ("a.mp4", "for_chat", {}, "--for-chat: makes .gif or .webp, not a.mp4"),
        ("a.mp4", "for_web", {"codec": "av1"}, "--for-web and --codec: one of the two"),
        ("a.mp4", "for_phone", {"lossless": True}, "--for-phone and --lossless: one of"),
        ("a.mp4", "for_phone", {"scale": 2}, "--for-phone and --scale: one of"),
        ("a.mp4", "for_phone", {"resolution": "64x64"}, "--for-phone and --resolution: one of"),
        ("a.mp4", "for_web", {"fit": "pad"}, "only with --resolution"),
    ],
)
def test_what_contradicts_a_preset_is_refused(name, preset, options, says):
    with pytest.raises(UsageError, match=says):
        target_of(name, FileOptions(**{preset: True}, **options), fps="30")
