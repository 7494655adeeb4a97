"""The settings of a run: three frozen tables, read from a recipe, written into the run folder.

A recipe (TOML) lists only what differs from the defaults below. An unknown key is an error that
names the nearest known one. This module knows no torch and no network.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field, fields
from pathlib import Path

import tomli_w

from vidgan.errors import ConfigError

MODELS = ("dcgan", "r3gan")
AUGMENTS = ("auto", "diff", "ada", "none")
NORMS = ("auto", "batch", "spectral", "none")
LOSSES = ("auto", "non-saturating", "minimax", "lsgan", "hinge", "wgan", "rpgan")
AUTO = -1.0  # of a number: `resolved` chooses
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the networks are. Stands in every model file."""

    name: str = "dcgan"  # architecture
    width: int = 0  # pixels, a multiple of 8; 0 = follow the data's aspect ratio, short side 64
    height: int = 0  # pixels, likewise; both are 0 or neither
    z_dim: int = 100  # components of a latent
    channels: int = 0  # feature maps at half resolution, more below; 0 = auto: 32 on a CPU, else 64
    discriminator_norm: str = "auto"  # auto, batch, spectral or none; r3gan has none
    growth: float = -1.0  # stages above the smallest that a growing dcgan has; -1 = all, from birth
    class_names: tuple[str, ...] = ()  # of label 0, 1, ...; training fills it in; () = no classes

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def grows(self) -> bool:
        return self.growth >= 0

    def __post_init__(self) -> None:
        _choice("model.name", self.name, MODELS)
        _choice("model.discriminator_norm", self.discriminator_norm, NORMS)
        if (self.width == 0) != (self.height == 0):
            raise ConfigError("model.width and model.height: give both, or neither (0).")
        for key in ("width", "height"):
            side = getattr(self, key)
            if side and (side % 8 or not 32 <= side <= 256):
                raise ConfigError(
                    f"model.{key} = {side}: a side is a multiple of 8 from 32 to 256, "
                    f"for example {min(256, max(32, round(side / 8) * 8))}."
                )
        _at_least("model.z_dim", self.z_dim, 1)
        _at_least("model.channels", self.channels or 4, 4)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on, and how it becomes uint8 pictures of one size."""

    source: str = "earth"  # folder, zip, film, films, torchvision:NAME, earth, emoji or digits
    every: int = 1  # of a video: keep every n-th frame
    min_change: float = (
        1.0  # of a video: drop a frame closer than this (mean grey levels) to the last kept
    )
    background: str = "#ffffff"  # colour laid under transparent pixels
    max_bad: float = 0.01  # fraction of unreadable files that is skipped instead of refused
    labels: bool = True  # where the pictures lie in class folders: learn the classes too

    def __post_init__(self) -> None:
        _at_least("data.every", self.every, 1)
        _at_least("data.min_change", self.min_change, 0)
        if not 0 <= self.max_bad < 1:
            raise ConfigError(f"data.max_bad = {self.max_bad}: a fraction from 0 to below 1.")
        digits = self.background.removeprefix("#")
        if len(digits) != 6 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            raise ConfigError(
                f'data.background = "{self.background}": six hex digits, for example "#ffffff".'
            )


_LEAST = {
    **dict.fromkeys(("images", "checkpoint_every_images", "keep_checkpoints"), 1),
    **dict.fromkeys(("duration_s", "seed", "ema_halflife_images", "preview_every_images"), 0),
    **dict.fromkeys(("penalty_every_steps", "feature_matching"), 0),
    **{"discriminator_steps": 1, "unrolled_steps": 0, "grow_every_images": 0},
    **dict.fromkeys(("r1", "r2", "gradient_penalty", "distance_every_images"), AUTO),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how. All progress is counted in images, so a batch size changes no schedule."""

    images: int = 2_000_000  # real images shown to the discriminator in all
    duration_s: float = 0.0  # stop after this much wall time, if sooner; 0 = no limit
    batch_size: int = 0  # over all devices together; 0 = auto: 32 on a CPU, else 64
    seed: int = 0  # of weights, data order and latents
    learning_rate_g: float = 2e-4
    learning_rate_d: float = 2e-4
    beta1: float = AUTO  # Adam; auto: 0 where D pays for its slope, else 0.5
    beta2: float = AUTO  # auto: 0.99 where D pays for its slope, else 0.999
    loss: str = "auto"  # one of LOSSES; auto: non-saturating for dcgan, rpgan for r3gan
    r1: float = AUTO  # gamma, D's cost of its slope on reals; auto: `gamma_for` with rpgan, else 0
    r2: float = AUTO  # likewise on fakes
    gradient_penalty: float = AUTO  # weight of D's slope between both; auto: 10 with wgan, else 0
    penalty_every_steps: int = 0  # D pays every n-th step n-fold; 0 = auto: 1 with wgan, else 8
    feature_matching: float = 0.0  # weight in G's loss of the distance of D's mean features
    discriminator_steps: int = 1  # of D per step of G
    ema_halflife_images: int = 10_000  # the generator that is kept averages over about this
    flip: bool = False  # mirror half of the images left to right
    unrolled_steps: int = 0  # G learns from D so many simulated steps ahead
    grow_every_images: int = 0  # of a growing dcgan: length of a phase; 0 = all stages from birth
    augment: str = "auto"  # auto (diff below 100,000 pictures), diff, ada or none
    precision: str = "auto"  # auto, fp32, bf16 or fp16 (CUDA only) autocast
    preview_every_images: int = 0  # 0 = by elapsed progress: often at first, then ever rarer
    checkpoint_every_images: int = 20_000
    keep_checkpoints: int = 2
    distance_every_images: int = int(AUTO)  # measures, keeps the best; auto: ever rarer; 0: never
    stop_past_best: bool = True  # after three distances in a row above 1.5 x the best
    deterministic: bool = False  # bitwise repeatable on CUDA too, slower; a CPU always is

    def __post_init__(self) -> None:
        _choice("train.augment", self.augment, AUGMENTS)
        _choice("train.precision", self.precision, PRECISIONS)
        _choice("train.loss", self.loss, LOSSES)
        for key, least in _LEAST.items():
            _at_least(f"train.{key}", getattr(self, key), least)
        _at_least("train.batch_size", self.batch_size or 2, 2)
        for key in ("learning_rate_g", "learning_rate_d"):
            if not 0 < getattr(self, key) < 1:
                raise ConfigError(f"train.{key} = {getattr(self, key)}: between 0 and 1.")
        for key in ("beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1 and getattr(self, key) != AUTO:
                raise ConfigError(f"train.{key} = {getattr(self, key)}: from 0 to below 1.")


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def resolved(config: Config, *, spread: float = 0.4, on_gpu: bool = False) -> Config:
    """Settle everything that is left to auto, once pictures and device are known.

    spread   mean squared difference of two pictures, values being in [-1, 1]
    Raises ConfigError where settings exclude each other.
    """

    def settle(value: typing.Any, chosen: typing.Any) -> typing.Any:
        return chosen if value in ("auto", AUTO) else value

    model, how = config.model, config.train
    loss = settle(how.loss, {"dcgan": "non-saturating", "r3gan": "rpgan"}[model.name])
    gamma = gamma_for(model.width, model.height, spread) if loss == "rpgan" else 0.0
    r1, r2 = settle(how.r1, gamma), settle(how.r2, gamma)
    penalty = settle(how.gradient_penalty, 10.0 if loss == "wgan" else 0.0)
    slope_costs = r1 + r2 + penalty > 0
    batch_norm = model.name == "dcgan" and not slope_costs
    norm = settle(model.discriminator_norm, "batch" if batch_norm else "none")
    if norm == "batch" and slope_costs:
        raise ConfigError(
            'model.discriminator_norm = "batch" couples the pictures of a batch, so r1, r2 and '
            'gradient_penalty mean nothing; choose "none" or "spectral".'
        )
    growth = 0.0 if how.grow_every_images else -1.0
    if model.name == "r3gan" and how.grow_every_images:
        raise ConfigError("train.grow_every_images: only dcgan grows; leave it out.")
    if norm != "none" and model.name == "r3gan":
        raise ConfigError(f'model.discriminator_norm = "{norm}": r3gan has none; leave it out.')
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            model,
            discriminator_norm=norm,
            growth=growth,
            channels=model.channels or (64 if on_gpu else 32),
        ),
        train=dataclasses.replace(
            how,
            loss=loss,
            batch_size=how.batch_size or (64 if on_gpu else 32),
            r1=r1,
            r2=r2,
            gradient_penalty=penalty,
            penalty_every_steps=how.penalty_every_steps or (1 if loss == "wgan" else 8),
            beta1=settle(how.beta1, 0.0 if slope_costs else 0.5),
            beta2=settle(how.beta2, 0.99 if slope_costs else 0.999),
        ),
    )


def gamma_for(width: int, height: int, spread: float) -> float:
    """The weight of R1 and R2 where none is given: the squared distance of two pictures / 500.

    D's squared slope is its logits' squared difference over that distance, so that with this rule
    the penalty weighs the same whatever the size and contrast of the pictures.
    """
    return 3 * width * height * spread / 500


def load(path: Path) -> Config:
    """Read a recipe or a run's config.toml. Raises ConfigError with file, key and nearest known
    key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file in UTF-8 ({error}).") from error
    try:
        return from_dict(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def from_dict(table: dict[str, object]) -> Config:
    """Build a checked Config from nested plain values, as TOML or JSON gives them."""
    return _build(Config, table, where="")


def to_dict(config: object) -> dict[str, object]:
    return dataclasses.asdict(config)


def to_toml(config: Config) -> str:
    return tomli_w.dumps(to_dict(config))


def override(config: Config, table: str, **changes: object) -> Config:
    """Replace keys of one table; a value of None leaves the key as it is."""
    given = {key: value for key, value in changes.items() if value is not None}
    section = dataclasses.replace(getattr(config, table), **given)
    return dataclasses.replace(config, **{table: section})


def _build(cls: type, table: object, *, where: str) -> typing.Any:
    if not isinstance(table, dict):
        raise ConfigError(f"[{where}] must be a table, not {table!r}.")
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        name = f"{where}.{key}" if where else key
        if key not in known:
            raise ConfigError(f"unknown key {name}{_nearest(key, known, where)}")
        kind = hints[key]
        values[key] = (
            _build(kind, value, where=name)
            if dataclasses.is_dataclass(kind)
            else _typed(name, value, kind)
        )
    return cls(**values)


def _typed(name: str, value: object, kind: type | types.UnionType) -> object:
    # A whole number where a fraction is asked for is fine; true for 1 is not.
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[str, ...] and isinstance(value, list | tuple):
        if not all(type(item) is str for item in value):
            raise ConfigError(f"{name}: expected a list of texts.")
        return tuple(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} = {value!r}: expected {kind.__name__}.")
    return value


def _nearest(key: str, known: typing.Iterable[str], where: str) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    if close:
        return f"; did you mean {where + '.' if where else ''}{close[0]}?"
    return f"; known here: {', '.join(known)}."


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        close = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}."
        raise ConfigError(f'{name} = "{value}" is unknown; {hint}')


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ConfigError(f"{name} = {value}: at least {least}.")
