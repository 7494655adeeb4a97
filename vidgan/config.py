"""The settings of a training run: four frozen tables in one Config.

A recipe (TOML) lists only what differs from the defaults below. An unknown key is an error.
"""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from vidgan.errors import ConfigError

MODELS = ("dcgan", "r3gan")  # that can be trained
IMPORTED = "imported"  # a model that was trained elsewhere
DISCRIMINATORS = ("auto", "dcgan", "r3gan")
AUGMENTS = ("auto", "diff", "ada", "none")
NORMS = ("auto", "batch", "spectral", "none")
LOSSES = ("auto", "non-saturating", "minimax", "lsgan", "hinge", "wgan", "rpgan")
AUTO = -1.0  # "auto" for a number: `resolved` replaces it
_WIDEST = 2**16  # latents and feature maps; such a network has terabytes of weights
_MOST_SHARES = 2**24  # of anchors in classes, which a network keeps; training makes 2**16 at most
CLASS_SCALE = 1 / 16  # of new models with classes; see train/README.md
LEAST_OF_A_CLASS = 20  # pictures; with fewer, "auto" does not learn classes: nothing proves it
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The generator, and the pictures that both networks work on. Part of every model file."""

    name: str = "dcgan"  # architecture of the generator: dcgan or r3gan; imported: see `layers`
    width: int = 0  # pixels, a multiple of 8; 0 = choose by the data, short side about 64
    height: int = 0  # pixels, a multiple of 8; give both sides or neither
    z_dim: int = 100  # length of a latent
    channels: int = 0  # feature maps at half resolution; 0 = auto: 32 on a CPU, 64 on a GPU
    # Channels that the network makes: 3, 1 for three equal ones, or 4 with alpha; 0 = auto.
    colours: int = 0
    growth: float = -1.0  # stages that a growing dcgan has added so far; -1 = it does not grow
    class_names: tuple[str, ...] = ()  # names of labels 0, 1, ...; set by training; () = no classes
    layers: tuple[str, ...] = ()  # of an imported generator, see `vidgan.networks.imported`
    class_scale: float = 1.0  # of the vector of a class beside the latent; set by training
    anchors: int = 0  # codes of pictures that latents are drawn to, see `networks.base`; likewise
    taps: int = 4  # of kernels that double a side: 3 = see `dcgan.Doubling`, 4 = free; likewise
    noise: bool = False  # dcgan: noise of the latent between layers, see `dcgan.Noise`; likewise
    layout: bool = False  # dcgan: G paints into the picture of a code, see `dcgan.Layout`; likewise

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def planes(self) -> int:
        """Channels of a picture: 4 with alpha."""
        return max(self.colours, 3)

    @property
    def grows(self) -> bool:
        return self.growth >= 0

    def __post_init__(self) -> None:
        if (self.name == IMPORTED) != bool(self.layers):
            raise ConfigError(
                f'model.name = "{self.name}": only vidgan import makes an imported model; such a '
                "model cannot be trained. Choose dcgan or r3gan."
            )
        if not self.layers:
            _choice("model.name", self.name, MODELS)
        if (self.width == 0) != (self.height == 0):
            raise ConfigError("model.width and model.height: give both, or neither (0).")
        for key in ("width", "height"):
            side = getattr(self, key)
            if self.layers:
                _at_least(f"model.{key}", side, 1)
            elif side and (side % 8 or not 32 <= side <= 256):
                larger = " Films are enlarged when they are rendered, by --resolution."
                raise ConfigError(
                    f"model.{key} = {side}: a side must be a multiple of 8 from 32 to 256, "
                    f"for example {min(256, max(32, round(side / 8) * 8))}.{larger * (side > 256)}"
                )
        _at_least("model.z_dim", self.z_dim, 1)
        _at_least("model.channels", self.channels or 4, 4)
        _at_least("model.anchors", self.anchors, 0)
        if self.anchors % (self.classes or 1):
            raise ConfigError(f"model.anchors = {self.anchors}: as many for each class.")
        if self.anchors * self.classes > _MOST_SHARES:
            raise ConfigError(
                f"model.anchors = {self.anchors}: too many for {self.classes} classes."
            )
        if self.taps not in (3, 4):
            raise ConfigError(f"model.taps = {self.taps}: 3 or 4.")
        if self.colours not in (0, 1, 3, 4):
            raise ConfigError(f"model.colours = {self.colours}: 3; 1 for grey, 4 with alpha.")
        for key in ("z_dim", "channels", "anchors"):
            if getattr(self, key) > _WIDEST:
                raise ConfigError(f"model.{key} = {getattr(self, key)}: at most {_WIDEST}.")


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator. It is chosen apart from the generator."""

    name: str = "auto"  # architecture: dcgan or r3gan; auto = that of the generator
    norm: str = "auto"  # dcgan: batch, spectral or none; auto = batch, or none with a penalty
    pretrained_weight: float = 0.0  # in both losses, of a second critic; see train/README.md

    def __post_init__(self) -> None:
        _at_least("discriminator.pretrained_weight", self.pretrained_weight, 0)
        _choice("discriminator.name", self.name, DISCRIMINATORS)
        _choice("discriminator.norm", self.norm, NORMS)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training data, and how it becomes uint8 pictures of one size."""

    source: str = "earth"  # folder, zip, video, torchvision:NAME, earth, emoji or digits
    every: int = 1  # of a video, use only every n-th frame
    min_change: float = 1.0  # skip video frames that differ less from the last used (grey levels)
    background: str = "#ffffff"  # colour behind transparent pixels
    alpha: bool = False  # learn transparency too, without a background
    max_bad: float = 0.01  # fraction of files that may be unreadable; more is an error
    labels: bool | str = "auto"  # learn the classes of class folders; auto: if each has 20 pictures

    @property
    def ground(self) -> str | None:
        """What is behind transparent pixels; None where these stay transparent."""
        return None if self.alpha else self.background

    def __post_init__(self) -> None:
        if self.labels not in (True, False, "auto"):
            raise ConfigError(f'data.labels = "{self.labels}": must be true, false or "auto".')
        _at_least("data.every", self.every, 1)
        _at_least("data.min_change", self.min_change, 0)
        if not 0 <= self.max_bad < 1:
            raise ConfigError(f"data.max_bad = {self.max_bad}: must be from 0 to below 1.")
        digits = self.background.removeprefix("#")
        if len(digits) != 6 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            raise ConfigError(
                f'data.background = "{self.background}": six hex digits, for example "#ffffff".'
            )


_LEAST = {
    **dict.fromkeys(("images", "checkpoint_every_images", "keep_checkpoints"), 1),
    **dict.fromkeys(("duration_s", "seed", "ema_halflife_images", "samples_every_images"), 0),
    **dict.fromkeys(("penalty_every_steps", "feature_matching", "mismatch"), 0),
    **{"discriminator_steps": 1, "unrolled_steps": 0, "grow_every_images": 0},
    **dict.fromkeys(("r1", "r2", "gradient_penalty", "code_weight"), AUTO),
    "distance_every_images": AUTO,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train, and how long. Progress is counted in images, whatever the batch size."""

    images: int = 2_000_000  # end after D has seen this many real images
    duration_s: float = 0.0  # end after this many seconds, if that is sooner; 0 = no limit
    batch_size: int = 0  # on all devices together; 0 = auto: 32 on a CPU, 64 on a GPU
    seed: int = 0  # of weights, data order, latents and augmentation
    start: str = ""  # begin with the networks of this run, or of its checkpoint
    learning_rate_g: float = AUTO  # auto: 4e-4 if G learns from codes, else 2e-4
    learning_rate_d: float = AUTO  # auto: 2e-4
    beta1: float = AUTO  # of Adam; auto: 0 with a gradient penalty, else 0.5
    beta2: float = AUTO  # of Adam; auto: 0.99 with a gradient penalty, else 0.999
    loss: str = "auto"  # see LOSSES; auto: rpgan if D is an r3gan, else non-saturating
    r1: float = AUTO  # weight gamma of D's gradient penalty on reals; auto: `gamma_for` with rpgan
    r2: float = AUTO  # the same on fakes
    gradient_penalty: float = AUTO  # weight of WGAN-GP's penalty; auto: 10 with wgan, else 0
    penalty_every_steps: int = 0  # lazy penalties: every n-th step, weighted n times; 0 = auto
    feature_matching: float = 0.0  # weight in G's loss of the distance between D's mean features
    mismatch: float = 0.0  # weight in D's loss of reals beside a wrong class; see train/README.md
    code_weight: float = AUTO  # in G's loss, of painting reals from codes; auto: 10 for dcgan
    layout: bool = True  # G is told the layout of a code; see train/README.md
    motion: bool = False  # of a film: near frames get near codes, painted finely
    discriminator_steps: int = 1  # steps of D for every step of G
    ema_halflife_images: int = 10_000  # half-life of the averaged generator, the one that is kept
    flip: bool = False  # also learn from mirror images
    unrolled_steps: int = 0  # G learns against a D simulated this many steps ahead
    grow_every_images: int = 0  # progressive growing: length of a phase; 0 = off
    augment: str = "auto"  # diff, ada or none; auto: diff for fewer than 100,000 pictures
    precision: str = "auto"  # fp32, bf16, fp16 (GPU only); auto: bf16 where it is faster
    samples_every_images: int = 0  # how often to write samples; 0 = auto: often at first, then less
    checkpoint_every_images: int = 20_000
    keep_checkpoints: int = 2
    distance_every_images: int = int(AUTO)  # how often to measure; auto: less and less; 0 = never
    stop_past_best: bool = True  # end after three distances in a row above 1.5 times the best
    deterministic: bool = False  # on a GPU too, repeat a run bit for bit; slower

    def __post_init__(self) -> None:
        _choice("train.augment", self.augment, AUGMENTS)
        _choice("train.precision", self.precision, PRECISIONS)
        _choice("train.loss", self.loss, LOSSES)
        for key, least in _LEAST.items():
            _at_least(f"train.{key}", getattr(self, key), least)
        if self.seed >= 2**64:
            raise ConfigError(f"train.seed = {self.seed}: below 2^64.")
        if self.precision == "fp16" and self.unrolled_steps:
            raise ConfigError("train.unrolled_steps: not in fp16; choose another train.precision.")
        _at_least("train.batch_size", self.batch_size or 2, 2)
        for key in ("learning_rate_g", "learning_rate_d"):
            if not 0 < getattr(self, key) < 1 and getattr(self, key) != AUTO:
                raise ConfigError(f"train.{key} = {getattr(self, key)}: must be between 0 and 1.")
        for key in ("beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1 and getattr(self, key) != AUTO:
                raise ConfigError(f"train.{key} = {getattr(self, key)}: must be from 0 to below 1.")


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.model.layers:
            raise ConfigError("model.layers: an imported model cannot be trained; remove this key.")
        asked, weight = self.train.motion, self.train.code_weight
        if asked and (not weight or (weight == AUTO and self.model.name != "dcgan")):
            raise ConfigError(
                "train.motion = true: it is for a G that learns from codes: a dcgan, or any model "
                "with a code_weight above 0 in a recipe."
            )


def resolved(config: Config, *, spread: float = 0.4, on_gpu: bool = False) -> Config:
    """Replace every "auto", once the data and the device are known.

    spread   mean squared difference of two pictures, with pixel values in [-1, 1]
    Raises ConfigError for settings that exclude each other.
    """

    def settle(value: typing.Any, chosen: typing.Any) -> typing.Any:
        return chosen if value in ("auto", AUTO) else value

    model, how = config.model, config.train
    name, asked_norm = settle(config.discriminator.name, model.name), config.discriminator.norm
    loss = settle(how.loss, {"dcgan": "non-saturating", "r3gan": "rpgan"}[name])
    gamma = gamma_for(model.width, model.height, spread, planes=model.planes)
    gamma = gamma if loss == "rpgan" else 0.0
    r1, r2 = settle(how.r1, gamma), settle(how.r2, gamma)
    gradient_penalty = settle(how.gradient_penalty, 10.0 if loss == "wgan" else 0.0)
    code_weight = settle(how.code_weight, 10.0 if model.name == "dcgan" else 0.0)
    penalized = r1 + r2 + gradient_penalty > 0
    norm = settle(asked_norm, "batch" if name == "dcgan" and not penalized else "none")
    if name == "r3gan" and norm != "none":
        raise ConfigError(f'discriminator.norm = "{norm}": r3gan has no norm; remove this key.')
    if norm == "batch" and penalized:
        raise ConfigError(
            'discriminator.norm = "batch" mixes the pictures of a batch, so r1, r2 and '
            'gradient_penalty have no meaning; choose "none" or "spectral".'
        )
    if how.grow_every_images and {model.name, name} != {"dcgan"}:
        raise ConfigError("train.grow_every_images: only dcgan can grow; remove this key.")
    adds = how.augment == "ada" or how.grow_every_images or config.discriminator.pretrained_weight
    if on_gpu and how.deterministic and adds:
        raise ConfigError(
            'train.deterministic: on a GPU, gradients of augment = "ada", grow_every_images and '
            "pretrained_weight cannot be repeated bit for bit; leave these out, or use the CPU."
        )
    auto_size = 64 if on_gpu else 32
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            model,
            growth=0.0 if how.grow_every_images else -1.0,
            channels=model.channels or auto_size,
        ),
        discriminator=dataclasses.replace(config.discriminator, name=name, norm=norm),
        train=dataclasses.replace(
            how,
            loss=loss,
            batch_size=how.batch_size or auto_size,
            r1=r1,
            r2=r2,
            gradient_penalty=gradient_penalty,
            code_weight=code_weight,
            learning_rate_g=settle(how.learning_rate_g, 4e-4 if code_weight else 2e-4),
            learning_rate_d=settle(how.learning_rate_d, 2e-4),
            penalty_every_steps=how.penalty_every_steps or (1 if loss == "wgan" else 8),
            beta1=settle(how.beta1, 0.0 if penalized else 0.5),
            beta2=settle(how.beta2, 0.99 if penalized else 0.999),
        ),
    )


def gamma_for(width: int, height: int, spread: float, *, planes: int = 3) -> float:
    """The default weight of R1 and R2: the squared distance of two pictures / 500.

    D's squared gradient is about the squared difference of two logits over that distance. So the
    penalty weighs the same whatever the size and contrast of the pictures.
    """
    return planes * width * height * spread / 500


def load(path: Path) -> Config:
    """Read a recipe, or the config.toml of a run. Raises ConfigError."""
    try:
        return from_dict(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file in UTF-8 ({error}).") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def from_dict(table: object, cls: type = Config, *, where: str = "") -> typing.Any:
    """Make a dataclass of a TOML or JSON table. 1 is accepted for 1.0, but true is not for 1."""
    if not isinstance(table, dict):
        raise ConfigError(f"[{where}] must be a table, not {table!r:.60}.")
    kinds, values, prefix = typing.get_type_hints(cls), {}, f"{where}." if where else ""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if key not in kinds:
            raise ConfigError(f"unknown key {name}; {_hint(key, kinds, prefix)}")
        kind = kinds[key]
        if dataclasses.is_dataclass(kind):
            value = from_dict(value, kind, where=name)
        elif type(value) is int and kind is float:
            value = float(value)
        elif type(value) is list and typing.get_origin(kind) is tuple:
            value = tuple(value)
        if not fits(value, kind):
            wanted = kind.__name__ if type(kind) is type else kind
            raise ConfigError(f"{name} = {value!r:.60}: expected {wanted}.")
        values[key] = value
    return cls(**values)


def to_toml(config: Config) -> str:
    return tomli_w.dumps(dataclasses.asdict(config))


def fits(value: object, kind: type | types.GenericAlias | types.UnionType) -> bool:
    """Whether a value of TOML or JSON is of a kind such as int, list[str] or dict | None."""
    inner = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return any(fits(value, one) for one in inner)
    if not inner:
        return type(value) is kind
    return type(value) is typing.get_origin(kind) and all(fits(item, inner[0]) for item in value)


def _hint(given: str, known: typing.Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {prefix}{close[0]}?" if close else f"known: {', '.join(known)}."


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f'{name} = "{value}" is unknown; {_hint(value, known)}')


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:  # nor NaN
        raise ConfigError(f"{name} = {value}: at least {least}.")
