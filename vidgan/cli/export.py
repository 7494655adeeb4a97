"""The verbs that carry a generator elsewhere and back: export, preview, verify, import."""

import contextlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Literal

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import ModelError, UsageError, VidganError


def export(
    target: Path | None = None,
    *,
    html: Path | None = None,
    site: Path | None = None,
    model: Path | None = None,
    output: Literal["frames", "float"] = "frames",
    layout: Literal["rgb", "rgba"] = "rgb",
    weights: Literal["fp32", "fp16"] = "fp32",
    int8: bool = False,
    walk: str | None = None,
    frames: Whole = 240,
    seed: Whole = 0,
    least_psnr: float | None = None,
    force: bool = False,
) -> None:
    """Write the generator as one ONNX file, proved against torch before it appears.

    Parameters
    ----------
    target
        generator.onnx; generator.json beside it tells the same to runtimes that read no metadata.
    html
        Instead: player.html, one page with everything in it, which opens from a folder or a server.
    site
        Instead: a folder for a web server, with threads and WebGPU; see vidgan preview.
    model
        generator.safetensors; else the newest run's, else the shipped one.
    output
        uint8 frames, or float pictures in [-1, 1], NCHW.
    layout
        rgb, or rgba for canvases.
    weights
        fp16 halves the file; arithmetic stays in float32.
    int8
        A quarter to a third of the file, 8-bit arithmetic; calibrated; refused below 38 dB.
    walk
        Bake a path in, so that the input is a time t, 1.0 = once round: a path of vidgan render
        (loop, circle, ...) or the .json of --save-recipe.
    frames
        Of the walk; a recipe has its own.
    seed
        Of the walk; a recipe has its own.
    least_psnr
        Refuse what is further from torch's frames than this, in dB.
    force
        Overwrite the target.
    """
    if [target, html, site].count(None) != 2:
        raise UsageError("export: one of generator.onnx, --html player.html, --site DIR.")
    if target is None:
        if walk or int8 or (output, layout, weights, least_psnr) != ("frames", "rgb", "fp32", None):
            raise UsageError("--html and --site choose the model's form themselves.")
        _page(html, site, model, force=force)
        return
    if int8 and weights == "fp16":
        raise UsageError("--int8 and --weights fp16: one of the two.")
    if output == "float" and layout == "rgba":
        raise UsageError("--output float has three channels: no --layout rgba.")
    side = target.with_suffix(".json")
    if walk and Path(walk).absolute() == side.absolute():
        raise UsageError(f"{target}: {side} beside it would replace the recipe; name it otherwise.")
    check_new(target, suffix=".onnx", force=force)
    check_new(side, suffix=".json", force=force)
    from vidgan.generator import export as exporting

    source, name = _weights(model)
    path, recipe = _walk(walk, source, target, frames=frames, seed=seed) if walk else (None, None)
    proofs = exporting.export(
        source,
        target,
        output=output,
        layout=layout,
        weights=weights,
        int8=int8,
        walk=path,
        recipe=recipe,
        least_psnr_db=least_psnr,
    )
    print("weights      MB  PSNR dB  frames/s")
    for p in proofs:
        size_mb, psnr_db = p.size_bytes / 1e6, p.found.psnr_db
        print(f"{p.weights:6} {size_mb:8.2f} {psnr_db:8.1f} {p.frames_per_s:9.0f}")
    last = proofs[-1]
    close = last.found if last.weights == "fp32" else f"{last.found.psnr_db:.1f} dB from torch's"
    print(f"{target}: {name}; proved on {last.frames} frames: {close}")


def _page(html: Path | None, site: Path | None, model: Path | None, *, force: bool) -> None:
    from vidgan.generator import web_page

    target = html or site
    check_new(target, suffix=".html" if html else "", force=force)
    if target.exists() and target.is_dir() != bool(site and web_page.is_site(site)):
        raise UsageError(f"{target}: --force replaces only what vidgan export wrote.")
    source, name = _weights(model)
    if html:
        web_page.write_html(source, html)
        print(f"{html}: {name}, {html.stat().st_size / 1e6:.1f} MB; open it in a browser.")
    else:
        web_page.write_site(source, site)
        print(f"{site}: {name}; look at it with: vidgan preview {site}")


def _weights(model: Path | None) -> tuple[Path, str]:
    """`synthesis.find_model` where only the weights will do."""
    from vidgan.generator import synthesis

    source, name = synthesis.find_model(model)
    if source.suffix != ".safetensors":
        raise ModelError(f"{source}: export reads generator.safetensors.")
    return source, name


def preview(folder: Path, *, port: Whole = 8000) -> None:
    """Serve what --site wrote to the browser of this machine, until Ctrl-C.

    Parameters
    ----------
    folder
        As given to vidgan export --site.
    port
        On 127.0.0.1; 0 takes a free one.
    """
    from vidgan.cli import serve as previewing

    with previewing.server(folder, port=port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends)", flush=True)
        server.serve_forever()


def verify(file: Path, /, *more: Path) -> None:
    """Say what is marked as synthetic and who signed it; run the self-test inside an .onnx file.

    Exit code 0: all is marked, signatures and self-tests hold. 1: somewhere no mark was found
    (which says nothing about how it was made), or a signature does not hold. 2 or 4: a file is
    missing, or a model damaged.

    Parameters
    ----------
    file
        A picture, film, folder of pictures, generator.safetensors or generator.onnx.
    more
        Others.
    """
    codes = {0}
    for target in (file, *more):
        held = sorted(path for path in target.glob("*") if path.is_file()) or [target]
        said: dict[tuple[str, int], list[Path]] = {}  # most of a folder says the same
        try:
            for path in held:
                said.setdefault(_verdict(path), []).append(path)
        except VidganError as error:
            terminal.say(f"vidgan: {error}")
            codes.add(error.exit_code)
        for (text, code), (first, *rest) in said.items():
            to = f" to {rest[-1].name} ({1 + len(rest)} files)" if rest else ""
            print(f"{first}{to}: {text}")
            codes.add(code)
    if any(codes):
        sys.exit(max(codes))


def _verdict(path: Path) -> tuple[str, int]:
    """What a file says of itself, for a terminal of 80 columns, and the exit code for it."""
    from vidgan.generator import selftest
    from vidgan.marks import c2pa, xmp

    proof = selftest.verify(path) if path.suffix == ".onnx" else ""
    mark, signed = xmp.find_mark(path) or {}, c2pa.find_signature(path)
    source = str((signed | mark).get(xmp.MODEL_KEY, ""))
    signature, comment = signed.get("signature", ""), mark.get("comment", "")
    facts = {"source": source.rpartition("/")[2], "made by": mark.get("creator_tool", "")}
    told = comment if isinstance(comment, dict) else {"comment": comment}
    lines = ["marked as synthetic" if source else "no mark found"]
    # The order of the first two, and no word of a stranger in place of what was found.
    for name, fact in (facts | told | facts | {"signature": signature, "self-test": proof}).items():
        text = fact if isinstance(fact, str) else json.dumps(fact)
        line = "".join(c if c.isprintable() else "?" for c in f"{name[:16]:10}  {text[:1000]}")
        lines += textwrap.wrap(line, 78, subsequent_indent=" " * 12) if text else []
    return "\n  ".join(lines), int(not source or "NOT" in signature)


def import_(source: Path, target: Path, *, force: bool = False) -> None:
    """Make a generator.safetensors of a DCGAN trained elsewhere, from its plain state_dict.

    Parameters
    ----------
    source
        weights.pt, as torch.save(netG.state_dict(), ...) writes it; layers named main.0.weight, ...
    target
        generator.safetensors
    force
        Overwrite the target.
    """
    check_new(target, suffix=".safetensors", force=force)
    from vidgan.generator import import_weights

    model = import_weights.import_weights(source, target)
    size = f"{model.width}x{model.height}"
    print(f"{target}: {model.name} {size}, z_dim {model.z_dim}, from {source}")


def _walk(
    walk: str, source: Path, target: Path, *, frames: int, seed: int
) -> tuple[object, dict[str, object]]:
    """The path to bake in, and its recipe."""
    from vidgan.generator import synthesis
    from vidgan.latent import paths
    from vidgan.render import walk as recipes

    if not walk.endswith(".json") and walk not in paths.PATHS:
        raise UsageError(f"--walk {walk}: known are {', '.join(paths.PATHS)}, or a recipe's .json.")
    generator, name = synthesis.open_default(source)
    asked = recipes.Recipe(z_dim=0, path=walk, seed=seed, frames=frames)
    if walk.endswith(".json"):
        asked = recipes.load(Path(walk))
    if asked.grid:
        raise UsageError(f"{walk}: a grid cannot be baked in; leave it out.")
    asked, drive = asked.heard(target)
    asked = asked.made_for(generator, name)
    (path,) = asked.paced(generator, drive)
    return path, asked.comment()
