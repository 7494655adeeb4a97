"""The verbs that take a generator to other programs and back: export, serve, verify, import."""

import json
import math
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError, VidganError

if TYPE_CHECKING:
    from vidgan.render.walk import BoundWalk


def export(
    target: Path | None = None,
    *,
    html: Path | None = None,
    site: Path | None = None,
    encoder: Path | None = None,
    history: bool = False,
    quiz: str = "",
    model: Path | None = None,
    output: Literal["frames", "float"] = "frames",
    layout: Literal["rgb", "rgba"] = "rgb",
    weights: Literal["fp32", "fp16"] = "fp32",
    int8: bool = False,
    classes: Literal["label", "weights"] = "label",
    walk: str | None = None,
    frames: Whole = 240,
    seed: Whole = 0,
    least_psnr: float | None = None,
    force: bool = False,
) -> None:
    """Write the generator as an ONNX file, which runs without vidgan, or as a web page.

    The file appears only after ONNX Runtime has made the same frames with it as torch.

    Args:
        target: The file to write: generator.onnx. Beside it, generator.json repeats its metadata
            for programs that cannot read them in the file.
        html: Write this web page instead, for example player.html. It is a single file and opens
            without a server.
        site: Write a folder for a web server instead. It is faster, by threads and WebGPU. To look
            at it: vidgan serve.
        encoder: Write the encoder of the generator instead, for example encoder.onnx: a picture
            goes in, and its latent comes out. The encoder is trained if there is none, which takes
            a minute or two; from then on the pages of --html and --site take photographs.
        history: The page also has up to three earlier states of the run, and a slider through them.
        quiz: The page also asks: real or fake? It then contains 12 pictures of the training data;
            say of what source and licence they are, for example "NASA, public domain".
        model: generator.safetensors, the folder of a run, or RUN@50k: as it was at 50,000 images.
            By default the newest run in runs/, or else the generator that comes with vidgan, called
            earth.
        output: frames of bytes, or float images [batch, 3, height, width] in [-1, 1].
        layout: The channels of the frames; rgba is what a canvas of a browser takes. Those of a
            generator with transparency are always rgba.
        weights: fp16 halves the size of the file. It still computes in 32 bits.
        int8: Store and compute in 8 bits. The file shrinks to less than half, and frames change a
            little.
        classes: What the file takes beside the latent, if the generator has classes: the number of
            one class, or weights of all classes, which can mix them.
        walk: Put a walk into the file, so that its input is a time from 0 to 1 instead of a latent.
            Give a path of vidgan render, for example loop, or a file of --save-walk, for example
            walk.json.
        frames: The number of frames of a --walk that is not a file.
        seed: The seed of a --walk that is not a file.
        least_psnr: Fail if the frames are further from those of torch, as PSNR in dB: by default
            60, or 38 for --int8.
        force: Replace the target, if vidgan wrote it.
    """
    if [target, html, site, encoder].count(None) != 3:
        one = "generator.onnx, --html player.html, --site DIR, --encoder encoder.onnx"
        raise UsageError(f"export: give one of {one}.")
    if target is None:
        usual = ("frames", "rgb", "fp32", "label", None)
        if walk or int8 or (output, layout, weights, classes, least_psnr) != usual:
            raise UsageError("--html, --site and --encoder: each sets all other options itself.")
        if not encoder:
            return _page(html, site, model, history, quiz, force)
        if not (history or quiz):
            return _encoder(encoder, model, force=force)
    if history or quiz:
        raise UsageError("--history and --quiz: with --html or --site.")
    if int8 and weights == "fp16":
        raise UsageError("--int8 and --weights fp16: one of the two.")
    if output == "float" and layout == "rgba":
        raise UsageError("--output float has three channels: omit --layout rgba.")
    if walk and classes == "weights":
        raise UsageError("--walk and --classes weights: the walk holds the classes; omit one.")
    side = target.with_suffix(".json")
    if walk and Path(walk).absolute() == side.absolute():
        raise UsageError(f"{target}: its metadata {side} would replace the walk; rename one.")
    check_new(target, suffix=".onnx", force=force)
    check_new(side, suffix=".json", force=force)
    from vidgan.generator import export as exporting
    from vidgan.generator import runs

    source, name = runs.find_model(model)
    kept = "int8" if int8 else weights
    form = exporting.Form(
        output=output, layout=layout, weights=kept, classes=classes, least_psnr_db=least_psnr
    )
    bound = _bound(walk, source, frames=frames, seed=seed) if walk else None
    proofs = exporting.export(source, target, form, walk=bound, force=force)
    terminal.to_stdout("weights      MB  PSNR dB  frames/s")
    for proof in proofs:
        size_mb, psnr_db = proof.size_bytes / 1e6, proof.difference.psnr_db
        numbers = f"{size_mb:8.2f} {psnr_db:8.1f} {proof.frames_per_s:9.0f}"
        terminal.to_stdout(f"{proof.weights:6} {numbers}")
    close = proof.difference if kept == "fp32" else f"{psnr_db:.1f} dB from torch's"
    terminal.to_stdout(f"{target}: {name}; proved on {proof.frames} frames: {close}")


def _page(
    html: Path | None, site: Path | None, model: Path | None, history: bool, quiz: str, force: bool
) -> None:
    from vidgan.edit.encoder_file import content_for_page
    from vidgan.generator import runs, web_page

    target = html or site
    check_new(target, suffix=".html" if html else "", force=force)
    if target.exists() and not (html or web_page.is_site(site)):
        raise UsageError(f"{target}: --force replaces only what vidgan export wrote.")
    source, name = runs.find_model(model)
    extras = web_page.states(source) if history else {}
    if quiz:
        extras |= {"reals": web_page.reals(source), "licence": quiz.encode()}
    with terminal.working_bar("training the encoder") as progress:
        if encoder := content_for_page(source, progress):
            extras["encoder"] = encoder
    if html:
        web_page.write_html(source, html, extras, force=force)
        size_mb = html.stat().st_size / 1e6
        terminal.to_stdout(f"{html}: {name}, {size_mb:.1f} MB; open it in a browser.")
    else:
        web_page.write_site(source, site, extras, force=force)
        terminal.to_stdout(f"{site}: {name}; look at it with: vidgan serve {site}")


def _encoder(target: Path, model: Path | None, *, force: bool) -> None:
    check_new(target, suffix=".onnx", force=force)
    from vidgan.edit.encoder_file import write_encoder
    from vidgan.generator import runs

    source, name = runs.find_model(model)
    with terminal.working_bar("training the encoder") as progress:
        proof = write_encoder(source, target, progress, force=force)
    size_mb = target.stat().st_size / 1e6
    terminal.to_stdout(f"{target}: for {name}, {size_mb:.1f} MB; what it leads to: {proof}")


def _bound(walk: str, source: Path, *, frames: int, seed: int) -> "BoundWalk":
    """The walk to put into the file: of a path's name, or of a file."""
    from vidgan.generator import synthesis
    from vidgan.latent import paths
    from vidgan.render.walk import Walk

    if walk.endswith(".json"):
        asked = Walk.load(Path(walk))
    elif walk in paths.PATHS:
        asked = Walk(path=walk, seed=seed, frames=frames)
    else:
        raise UsageError(f"--walk {walk}: known are {', '.join(paths.PATHS)}, or a file walk.json.")
    if asked.grid:
        raise UsageError(f"{walk}: an ONNX file cannot show a grid; save the walk without --grid.")
    return asked.bind(synthesis.open_generator(source), name=str(source))


def serve(folder: Path, /, *, port: Whole = 8000) -> None:
    """Serve the page of vidgan export --site to the browser of this machine, until Ctrl-C.

    Args:
        folder: The folder given to vidgan export --site.
        port: The page is at http://127.0.0.1:PORT/. 0 takes a free port.
    """
    from vidgan.cli.serve import run, server

    run(server(folder, port=port))


def verify(file: Path, /, *more: Path) -> None:
    """Say whether files are marked as synthetic and who signed them, and test ONNX files.

    Exit code 0: all are marked, and all signatures and self-tests hold. 1: a file has no mark,
    which says nothing about how it was made, or a signature does not hold. 2 or 4: a file is
    missing, or a model is damaged.

    Args:
        file: A picture, film, folder of pictures, generator.safetensors or generator.onnx.
        more: More of these.
    """
    codes = {0}
    for target in (file, *more):
        files = sorted(path for path in target.glob("*") if path.is_file()) or [target]
        verdicts: dict[tuple[tuple[str, ...], int], list[Path]] = {}  # many files have the same
        try:
            for path in files:
                verdicts.setdefault(_verdict(path), []).append(path)
        except VidganError as error:
            terminal.error(str(error))
            codes.add(error.exit_code)
        for ((verdict, *details), code), (first, *rest) in verdicts.items():
            to = f" to {rest[-1].name} ({1 + len(rest)} files)" if rest else ""
            terminal.to_stdout(f"{first}{to}: {verdict}", *(f"  {line}" for line in details))
            codes.add(code)
    if any(codes):
        sys.exit(max(codes))


def _verdict(path: Path) -> tuple[tuple[str, ...], int]:
    """What a file says of itself, in lines of up to 80 columns, and the exit code for it."""
    from vidgan.generator import classes, selftest, synthesis
    from vidgan.marks import c2pa, xmp

    proof = selftest.verify(path) if path.suffix == ".onnx" else ""
    mark, signed = xmp.find_mark(path) or {}, c2pa.find_signature(path)
    if path.suffix == ".safetensors":
        from vidgan.generator import checkpoint  # needs torch, which the others do not

        checkpoint.check_undamaged(path)
    source = str((signed | mark).get(xmp.MODEL_KEY, ""))
    signature, comment = signed.get("signature", ""), mark.get("comment", "")
    own = {"source": source.rpartition("/")[2], "made by": mark.get("creator_tool", "")}
    if names := synthesis.class_names(path):
        own["classes"] = classes.listed(names)
    claims = comment if isinstance(comment, dict) else {"comment": comment}
    lines = ["marked as synthetic" if source else "no mark found"]
    # The first `own` sets the order. The second keeps a file's comment from replacing facts.
    for name, fact in (own | claims | own | {"signature": signature, "self-test": proof}).items():
        text = fact if isinstance(fact, str) else json.dumps(fact)
        line = terminal.visible(f"{name[:16]:10}  {text[:1000]}")
        lines += textwrap.wrap(line, 78, subsequent_indent=" " * 12) if text else []
    return tuple(lines), int(not source or "NOT" in signature)


def import_(
    source: Path,
    target: Path,
    /,
    *,
    key: str | None = None,
    size: Whole | None = None,
    activation: str | None = None,
    output: Literal["tanh", "sigmoid", "none"] | None = None,
    upsample: Literal["nearest", "bilinear", "bilinear-corners"] | None = None,
    eps: str | None = None,
    force: bool = False,
) -> None:
    """Make a generator.safetensors of the weights of a generator that was trained elsewhere.

    What the weights do not say, the statistics of BatchNorm may tell. The command says what it has
    assumed, and an option says otherwise.

    Args:
        source: What torch.save(netG.state_dict(), ...) has written, a checkpoint that contains it
            (of Lightning too), a TorchScript archive, or safetensors. No code in it runs.
        target: The file to write: generator.safetensors.
        key: Where in the file the generator is, if there are several: for example netG_ema.
        size: The side of the pictures, for example 28.
        activation: relu, or leaky-relu:SLOPE, for example leaky-relu:0.2.
        output: What the last layer goes through; none is for a network that ends without it.
        upsample: How the maps are enlarged; bilinear-corners is align_corners=True.
        eps: That of the BatchNorms, for example 0.8; or one for each, for example 1e-5,0.8,0.8.
        force: Replace the target, if vidgan wrote it.
    """
    check_new(target, suffix=".safetensors", force=force)
    try:
        each = tuple(map(float, eps.split(","))) if eps else ()
    except ValueError:
        each = (0.0,)
    if not all(0 < number < math.inf for number in each):
        raise UsageError(f"--eps {eps}: a number above 0, or several such as 1e-5,0.8,0.8.")
    if size is not None and size < 1:
        raise UsageError(f"--size {size}: a number above 0, for example 64.")
    from vidgan.generator import import_weights

    asked = import_weights.Asked(
        key=key, size=size, activation=activation, output=output, upsample=upsample, eps=each
    )
    model = import_weights.import_weights(source, target, asked)
    size = f"{model.width}x{model.height}{', grey' if model.colours == 1 else ''}"
    terminal.to_stdout(f"{target}: {size}, z_dim {model.z_dim}, from {source}")
