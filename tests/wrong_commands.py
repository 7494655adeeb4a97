"""Commands that people mistype: the exit code, a part of the one line that is said, the command.

Plain data, so that a test can run every entry, and so that two versions can be compared.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from tests.sounds import write_sound
from vidgan.render.walk import FORMAT

MODEL = "MODEL"  # stands for a generator of z_dim 100, .safetensors or .onnx
EARTH = Path(__file__).parent.parent / "assets" / "earth.mp4"  # a film without sound
RUN = """
[model]
width = 96
height = 64
[data]
source = "holiday"
[train]
flip = true
"""

WRONG_COMMANDS = [
    (2, "ships cifar10, demo, earth", "train --recipe tinny"),
    (2, "runs/7: not a run; runs are the folders in runs/", "live runs/7"),
    (2, "requires an argument", "live"),
    (2, "--port 99999: from 0 to 65535", "live --port 99999 run"),
    (2, "--port x: a whole number", "live --port x run"),
    (2, "must end in .motion.safetensors", "motion --model earth --force film.mp4 m.safetensors"),
    (2, "Unknown option: --knobs", "live --knobs 3 run"),
    (4, "after @ stands a number of images, as in ru@50k", "evaluate ru@soon"),
    (2, "Did you mean vidgan train --resume RUN", "resume runs/00000-earth-dcgan64"),
    (4, "absent: not the folder of a run", "evaluate absent@1k"),
    (2, "--frames 0", "render --frames 0 out.mp4"),
    (2, "known are", "render --model earth --direction brigter=1 out.mp4"),
    (2, "brighter=-2..2", "render --model earth --direction brighter out.mp4"),
    (2, "up to 1000", "render --model earth --direction brighter=9999 out.mp4"),
    (4, "vidgan directions", "render --model MODEL --direction brighter=1 out.mp4"),
    (2, "--direction: for --grid", "sample --model earth --direction brighter=1 --count 3 stills/"),
    (2, "--frames 1.5: a whole number", "render --frames 1.5 out.mp4"),
    (2, "stills: say stills.mp4 for a film, stills/ for a folder of PNG", "render stills"),
    (2, "--seconds 0.001: a time of a frame or longer", "render --seconds 0.001 out.mp4"),
    (2, "--seconds nan: a time of a frame or longer", "render --seconds nan out.mp4"),
    (2, "--resolution 1080p: two whole numbers, for example", "render --resolution 1080p o.mp4"),
    (2, "h264 can make 1922x1080.", "render --resolution 1921x1080 out.mp4"),
    (2, "--resolution 0x9: for example 1920x1080", "render --resolution 0x9 out.gif"),
    (2, "--scale and --resolution: one", "render --resolution 64x64 --scale 2 out.mp4"),
    (2, "only with --resolution", "render --fit pad out.mp4"),
    (2, "no such picture, and no colour such as", "render --background no.png out.mp4"),
    (3, "--background notes.txt: not a picture", "render --background notes.txt out.mp4"),
    (2, "knows no transparency", "render --model MODEL --background white out.mp4"),
    (2, "--fit zoom: crop, pad, blur", "render --fit zoom --resolution 64x64 out.mp4"),
    (2, "at most 16,383 per side", "render --resolution 99998x64 out.mp4"),
    (2, "add --yes to go on", "render --resolution 9998x64 out.mp4"),
    (2, "--max-size 3: for example 3MB", "render --max-size 3 out.gif"),
    (2, "--max-size 0MB: for example 3MB", "render --max-size 0MB out.gif"),
    (2, "--max-size: only for .gif and .webp", "render --max-size 3MB out.mp4"),
    (2, "--sign and --max-size", "render --for-chat --sign c.pem --sign-key k.pem out.gif"),
    (2, "--resume works only for", "render --for-chat --resume out.gif"),
    (2, "--frames and --seconds: one of the two", "render --frames 9 --seconds 1 out.mp4"),
    (2, "omit --seconds", "render --audio song.wav --seconds 5 out.mp4"),
    (2, "Unknown option: --size. Did you mean --resolution?", "render --size=64x64 out.mp4"),
    (2, "Unknown option: --duration. Did you mean --seconds?", "render --duration 5 out.mp4"),
    (2, "Unknown option: --resolution. Did you mean --size?", "train --resolution 64"),
    (2, "--count 2.5: a whole number", "sample --count 2.5 stills"),
    (2, "fps", "render --fps 0 out.mp4"),
    (2, "--frams", "render --frams 3 out.mp4"),
    (2, "did you mean train.images", "train --recipe recipe.toml"),
    (2, "--for", "train --for soon"),
    (2, "--precision fp16: needs CUDA, not cpu", "train --precision fp16 --device cpu"),
    (2, "--device gpu: not here; torch ", "train --device gpu"),
    (2, "--device gpu: not here; torch ", "render --device gpu out.mp4"),
    (2, "--for 20: 20 what? Say seconds (20s), minutes (20m)", "train --for 20"),
    (2, "--for -5s: a time", "train --for -5s"),
    (2, "--size 0: no side", "train --size 0"),
    (2, "a.png and b.png: only one source; for several files", "train a.png b.png"),
    (2, "--seed 99999999999999999999: below 2^", "train --seed 99999999999999999999"),
    (2, 'data.labels = "maybe": must be true, false or "auto"', "train --recipe labels.toml"),
    (2, "train.r1 = nan: at least", "train --recipe nan.toml"),
    (2, "train.duration_s = inf: at least", "train --recipe inf.toml"),
    (2, "--batch-size 0: leave it out", "train --batch-size 0"),
    (2, "--channels 0: leave it out", "train --channels 0"),
    (2, "--size 64x64: a resumed run keeps its own (96x64)", "train --resume run --size 64"),
    (2, "--seed 3: a resumed run keeps its own (0)", "train --resume run --for 2M --seed 3"),
    (2, "earth: a resumed run keeps its own (holiday)", "train --resume run earth"),
    (2, "--no-flip: a resumed run", "train --resume run --no-flip"),
    (2, "own (without --alpha)", "train --resume run --alpha"),
    (2, "own (without --motion)", "train --resume run --motion"),
    (2, "--motion true: it is for a G that learns from codes", "train --model r3gan --motion"),
    (2, "--size 5:1: a ratio from 1:4 to 4:1", "train --size 5:1"),
    (2, "--size 16:0: a ratio", "train --size 16:0"),
    (2, "--size :9: a ratio", "train --size :9"),
    (2, "--size 63: a side must be a multiple of 8", "train --size 63"),
    (2, "enlarged when they are rendered", "train --size 1280x720"),
    (2, '"x" is unknown; known: dcgan, r3gan.', "train --model x"),
    (3, "empty", "train empty"),
    (3, "nowhere", "train nowhere"),
    (4, "notes.txt", "render --model notes.txt out.mp4"),
    (4, "notes.onnx", "render --model notes.onnx out.mp4"),
    (4, "notes.safetensors", "render --model notes.safetensors out.mp4"),
    (4, "void.onnx", "render --model void.onnx out.mp4"),
    (4, "void.safetensors", "render --model void.safetensors out.mp4"),
    (4, "no such file", "export --model absent.safetensors generator.onnx"),
    (2, ".onnx", "export generator.bin"),
    (2, "one of the two", "export --int8 --weights fp16 generator.onnx"),
    (2, "three channels", "export --output float --layout rgba g.onnx"),
    (2, "the walk holds the classes", "export --walk loop --classes weights walk.onnx"),
    (2, "sets all other options", "export --html player.html --classes weights"),
    (2, "spiral: known are", "export --walk spiral walk.onnx"),
    (2, "give one of", "export --html player.html --site site"),
    (2, ".html", "export --html player.txt"),
    (2, "sets all other options", "export --encoder encoder.onnx --int8"),
    (2, ".onnx", "export --encoder encoder.txt"),
    (2, "with --html or --site", "export --history generator.onnx"),
    (4, "no generators of earlier", "export --history --html player.html --model MODEL"),
    (4, "needs its training data", "export --quiz CC0 --html player.html --model MODEL"),
    (2, "give one of", "export --encoder encoder.onnx generator.onnx"),
    (4, "the weights themselves", "export --encoder encoder.onnx --model m.onnx"),
    (4, "generator.safetensors", "export --html player.html --model m.onnx"),
    (4, "notes.onnx", "verify notes.onnx"),
    (4, "absent.onnx", "verify absent.onnx"),
    (2, "a file; give the folder that it lies in: frames", "serve frames/photo.png"),
    (2, "FOLDER", "serve"),
    (2, "--port 65536: from 0 to 65535", "pick --model MODEL --port 65536"),
    (4, "absent: ", "pick absent"),
    (4, "--model 7: no run in runs/ has this number", "sample --model 7 out.png"),
    (4, "notes.onnx: not a file of weights", "import notes.onnx generator.safetensors"),
    (3, "bad.zip: damaged or no zip file", "train bad.zip"),
    (3, "empty: no pictures or films in it", "evaluate empty empty"),
    (4, "no generators of earlier", "render --model MODEL --through-training out.mp4"),
    (4, "absent: not the folder of a run", "sample --model absent@50k out.png"),
    (2, "a number and then a name", "keep --model MODEL 17"),
    (2, "vidgan keep 17 coast", "keep --model MODEL coast 17"),
    (2, "without classes", "keep --model MODEL 17 coast --label maps"),
    (2, "the shipped generator is of none", "keep --model earth 17 coast"),
    (2, "no favourite", "render --model MODEL --keyframes coast,17 out.mp4"),
    (2, "--seeds and --keyframes: one of these", "sample --grid 2x2 --seeds 3 a.png"),
    (2, "no favourite beside", "sample --model MODEL --keyframes cost,3 a.png"),
    (2, "--numbers and --direction: for --grid", "sample --count 5 --numbers stills"),
    (2, "--show: for --grid, and only", "sample --model MODEL --show a.png"),
    (2, "has no room", "sample --model MODEL --numbers --seed 99999999999999999 a.png"),
    (2, "stills: a folder takes --count", "sample stills/"),
    (2, "extra.mp4: more than the command takes", "render out.mp4 extra.mp4"),
    (2, "--no-flip: a resumed run keeps its own (--flip)", "train --resume run --no-flip"),
    (3, "run learns from these; put them back as they were", "train --resume run"),
    (4, "notes.safetensors: damaged, or not", "verify notes.safetensors"),
    (4, "void.safetensors: damaged, or not", "verify void.safetensors"),
    (2, ".safetensors", "import notes.txt generator.pt"),
    (4, "notes.txt", "import notes.txt generator.safetensors"),
    (2, "--eps -1: a number above 0", "import notes.txt generator.safetensors --eps -1"),
    (2, "--eps nan: a number above 0", "import notes.txt generator.safetensors --eps nan"),
    (2, "--size 0: a number above 0", "import notes.txt generator.safetensors --size 0"),
    (2, "not a run", "train --resume empty"),
    (2, "--truncation", "render --truncation -1 out.mp4"),
    (2, "128000x128000", "render --scale 1000 out.mp4"),
    (2, "12800x12800 pixels", "render --scale 100 out.mp4"),
    (2, "12800x12800 pixels", "render --scale 100 stills/"),
    (2, "at most 16,383 per side", "render --scale 99999999999999999999 --yes stills/"),
    (2, "at most 16,383 per side", "render --grid 144x1 out.mp4"),
    (2, "from 1 to 1,000,000,000", "render --frames 9999999999999999999999 --yes out.gif"),
    (2, "from 0.01 to 1000", "render --fps 0.00001 out.gif"),
    (2, "from 1 to 1,000,000", "sample --count 99999999999999999999 stills"),
    (2, "from 1x1 to 10,000", "sample --grid 99999999999999999999x1 out.png"),
    (2, "--count writes a folder", "sample --count 5 out.png"),
    (2, "nowhere: there is no such file", "evaluate nowhere"),
    (4, "its metadata cannot be used (no format_version)", "render --model m.safetensors out.mp4"),
    (4, "(Failed to load model", "render --model m.onnx out.mp4"),
    (2, ".mp4, .webm, .mov, .mkv, .gif", "render --model MODEL out.xyz"),
    (2, "there is no folder nowhere", "render --model MODEL nowhere/out.mp4"),
    (2, "there is no folder mine.mp4", "render --model MODEL mine.mp4/out.mp4"),
    (5, "/proc: cannot be written", "render --model MODEL /proc/out.mp4"),
    (0, "mine.mp4: is there, with nothing to continue", "render --resume mine.mp4"),
    (4, "run: has no generator yet", "render --model run out.mp4"),
    (2, "give the file another name", "render --model MODEL folder.mp4"),
    (2, "or --force to replace it", "render --model MODEL mine.mp4"),
    (2, "mine.mp4: is not of vidgan", "render --model MODEL --force mine.mp4"),
    (2, "grey.png: is not of vidgan", "sample --model MODEL --force grey.png"),
    (2, "notes.onnx: is not of vidgan", "export --model MODEL --force notes.onnx"),
    (2, "frame000001.png: is not of vidgan", "render --model MODEL --force theirs"),
    (2, "or --force", "render --model MODEL frames"),
    (2, "is not a folder", "render --model MODEL --force mine/"),
    (2, "holds more than frames (photo.png)", "render --model MODEL --force frames"),
    (2, "--frames -5: from 1", "render --model MODEL --frames -5 out.mp4"),
    (2, "add --yes to go on", "render --model MODEL --frames 1000000000 out.mp4"),
    (2, "holds no sound", "render --model MODEL --audio song.wav out.gif"),
    (3, "there is no sound in it", "render --model MODEL --audio mute.mp4 out.mp4"),
    (3, "cannot be read as sound", "render --model MODEL --audio notes.txt out.mp4"),
    (3, "cannot be read as sound", "render --model MODEL --audio absent.wav out.mp4"),
    (3, "cannot be read as sound", "render --model MODEL --audio playlist.wav out.mp4"),
    (2, "omit --frames", "render --model MODEL --audio song.wav --frames 5 out.mp4"),
    (2, "needs several: --walk a.json,b.json", "render --model MODEL --fade 1 out.mp4"),
    (2, "b.json: cannot be read", "render --model MODEL --walk w.json,b.json out.mp4"),
    (2, "omit --frames", "render --model MODEL --walk w.json,w.json --frames 3 out.mp4"),
    (2, "there is no sound", "render --model MODEL --audio-strength 2 out.mp4"),
    (2, "for example bass", "render --model MODEL --audio song.wav --audio-follow drum o.mp4"),
    (2, "as 0:30-1:00", "render --model MODEL --audio song.wav --audio-part soon o.mp4"),
    (2, "a later one", "render --model MODEL --audio song.wav --audio-part 0:30-0:20 o.mp4"),
    (2, "only 0.1 seconds", "render --model MODEL --audio song.wav --audio-part 0:30- o.mp4"),
    (2, "from 0 to 10", "render --model MODEL --audio song.wav --audio-strength 99 o.mp4"),
    (2, "this model takes 100", "render --model MODEL --keyframes k.npy out.mp4"),
    (2, "--keyframes notes.txt", "render --model MODEL --keyframes notes.txt out.mp4"),
    (2, "it does not begin like one", "render --model MODEL --keyframes k.npz out.mp4"),
    (2, "(no such file)", "render --model MODEL --keyframes absent.npy out.mp4"),
    (2, "--seeds 3,x", "render --model MODEL --seeds 3,x out.mp4"),
    (2, "one of the two", "render --model MODEL --seeds 3,4 --keyframes 3 out.mp4"),
    (2, "two keyframes", "render --model MODEL --seeds 3,4,5 --path circle out.mp4"),
    (2, "--grid", "render --model MODEL --seeds 3,4 --grid 2x1 out.mp4"),
    (2, "without classes", "render --model MODEL --labels 3>7 out.mp4"),
    (2, "name a picture", "invert"),
    (2, "two pictures of one name", "invert --model MODEL grey.png mine/grey.png"),
    (2, "must end in .safetensors", "invert --model MODEL --tune tuned.pt grey.png"),
    (2, "--steps -1: from 0", "invert --model MODEL --steps -1 grey.png"),
    (3, "absent.jpg: cannot be read as a picture", "invert --model earth absent.jpg"),
    # What is wrong with the target is said first: photographs take minutes.
    (2, "there is no folder absent", "render --model MODEL --keyframes no.jpg,5 absent/out.mp4"),
    (2, "no kind of file", "render --model MODEL --keyframes no.jpg,5 out.txt"),
    (2, "both, or neither", "render --model MODEL --keyframes no.jpg --sign cert.pem out.mp4"),
    (2, "--truncation x: numbers", "render --model MODEL --keyframes no.jpg --truncation x o.mp4"),
    (2, "--path", "render --model MODEL --keyframes no.jpg,5 --path spiral o.mp4"),
    (2, "--hold", "render --model MODEL --keyframes no.jpg,5 --hold 2 o.mp4"),
    (2, "without classes", "render --model MODEL --keyframes no.jpg,5 --labels 3 o.mp4"),
    (2, "without classes", "sample --model MODEL --keyframes no.jpg,5 --labels 3 o.png"),
    (2, "one of --mask", "restore grey.png fixed.png"),
    (2, "one of --mask", "restore --denoise --deblur grey.png fixed.png"),
    (2, "must end in .png", "restore --denoise grey.png fixed.jpg"),
    (2, "--count 0: from 1", "restore --denoise --count 0 grey.png fixed.png"),
    (2, "--upscale 5: this", "restore --model earth --upscale 5 grey.png fixed.png"),
    (3, "absent.jpg: cannot be read", "restore --model earth --denoise absent.jpg fixed.png"),
    (2, "without classes", "sample --model MODEL --labels flags out.png"),
    (2, "--hold", "render --model MODEL --constant-speed --hold 0.2 out.mp4"),
    (2, "there is no folder absent", "render --model MODEL --save-walk absent/w.json out.mp4"),
    (2, "must end in .json", "render --model MODEL --save-walk out.mp4 out.mp4"),
    (2, "absent.json: cannot be read", "render --model MODEL --walk absent.json out.mp4"),
    (
        2,
        "circle: takes two keyframes",
        "render --model MODEL --walk w.json --path circle --loop o.mp4",
    ),
    (2, "noise is always a loop", "render --model MODEL --walk w.json --path noise out.mp4"),
    (2, "sound of s.json and --frames", "render --model MODEL --walk s.json --frames 5 out.mp4"),
    (2, "from 0.01 to 1000", "render --model MODEL --walk w.json --fps 0 out.mp4"),
    (2, "both, or neither", "render --model MODEL --sign cert.pem out.mp4"),
    (2, "No such file", "render --model MODEL --sign cert.pem --sign-key key.pem out.mp4"),
    (2, "you are in this folder", "render --model MODEL ."),
    (2, "you are in a folder in it", "render --model MODEL --force .."),
    (2, "you are in a folder in it", "sample --model MODEL --count 3 /"),
    (2, "you are in this folder", "export --model MODEL --site . --force"),
    (2, "--force replaces only", "export --model MODEL --site frames --force"),
    (2, "--force replaces only", "export --model MODEL --site site --force"),
    (2, "--force replaces only", "export --model MODEL --site mine --force"),
]


def prepare(folder: Path) -> None:
    """Make the files and folders that the commands name, in the folder where they are run."""
    for name in ("empty", "frames", "site", "folder.mp4", "theirs"):
        (folder / name).mkdir()
    for name in ("grey.png", "theirs/frame000001.png"):
        Image.new("L", (8, 8)).save(folder / name)
    for name in ("mine", "mine.mp4", "frames/photo.png", "site/mine.txt", "site/model.onnx"):
        (folder / name).write_text("mine")
    for suffix in ("txt", "onnx", "safetensors"):
        (folder / f"notes.{suffix}").write_text("not a model")
        (folder / f"void.{suffix}").touch()
    (folder / "bad.zip").write_text("mine")
    (folder / "recipe.toml").write_text("[train]\nimage = 3\n")
    (folder / "labels.toml").write_text('[data]\nlabels = "maybe"\n')
    (folder / "nan.toml").write_text("[train]\nr1 = nan\n")
    (folder / "inf.toml").write_text("[train]\nduration_s = inf\n")
    (folder / "run").mkdir()
    (folder / "run" / "config.toml").write_text(RUN)
    three = [{"seed": 7, "index": index} for index in range(3)]
    walk = {"format": FORMAT, "z_dim": 100, "frames": 4, "closed": False, "keyframes": three}
    (folder / "w.json").write_text(json.dumps(walk))
    (folder / "s.json").write_text(json.dumps(walk | {"audio": "song.wav"}))
    np.save(folder / "k.npy", np.ones((4, 3), np.float32))
    np.savez(folder / "k.npz", np.ones((4, 100), np.float32))
    save_file({"w": np.ones(3)}, folder / "m.safetensors", metadata={"vidgan": "{}"})
    (folder / "m.onnx").write_bytes(b"\x08\x0a\xff")
    write_sound(folder / "song.wav", duration_s=0.1)
    # FFmpeg would open the file that a playlist names.
    (folder / "playlist.wav").write_text("ffconcat version 1.0\nfile song.wav\n")
    (folder / "mute.mp4").symlink_to(EARTH)
