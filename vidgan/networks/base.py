"""What training asks of a network, and how a class enters one.

A parameter whose requires_grad is False when its network is built stays frozen: it is in no
optimizer and, like the buffers of a module in which nothing trains, in no checkpoint. So a
discriminator can contain a pretrained network (which keeps its own BatchNorm in eval mode).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding as rows_of

from vidgan.config import ModelConfig

_SHARPNESS, _OWN = 4.0, 0.6  # of `drawn`
SMALL = 16  # pixels of the side of a small picture, and so the finest that a code says
CLASS_DIM = 64  # length of the vector that stands for a class beside the latent


class Generator(nn.Module):
    """Maps z float32 [B, Z] and classes (see `embedded`) to pictures [B, 3, H, W].

    With transparency they have a fourth plane, alpha, by which the colours are multiplied.
    """

    growth = -1.0  # the stages that a growing network has added, see `growth_at`

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.z_dim, self.class_scale = config.z_dim, config.class_scale
        self.embedding = nn.Embedding(config.classes, CLASS_DIM) if config.classes else None
        anchors = torch.zeros(config.anchors, config.z_dim) if config.anchors else None
        self.layout: nn.Module | None = None  # of a dcgan
        self.register_buffer("anchors", anchors)  # float32 [A, Z], class by class: see `drawn`
        if anchors is not None and config.classes:
            own = torch.eye(config.classes).repeat_interleave(config.anchors // config.classes, 1)
            self.register_buffer("of_class", own, persistent=False)  # [classes, A]

    def latents(
        self, z: Tensor, classes: Tensor | None, codes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Latents [B, Z] drawn to the anchors, if there are any, and the codes [B, Z] that say the
        layout. Codes [K, Z] take the place of the first of both."""
        assert z.ndim == 2 and z.shape[1] == self.z_dim, f"z {tuple(z.shape)} is not [B, Z]"
        if self.anchors is not None:
            own = None if classes is None else _mixed(classes, self.of_class)
            z, near = drawn(z, self.anchors, own)
        else:
            near = z
        if codes is None:
            return z, near
        return torch.cat([codes, z[len(codes) :]]), torch.cat([codes, near[len(codes) :]])

    def with_classes(self, z: Tensor, classes: Tensor | None) -> Tensor:
        """What the first layer sees: drawn latents, and beside each the vector of its class.

        A class says the same in every picture, so that what G does with it grows in every step of
        Adam, and the longer the vector, the faster. With vectors as long as latents, it soon
        outgrew what G does with z, layer after layer, and BatchNorm left nothing of z: one picture
        for each class. So vectors are shorter, by `class_scale`.
        """
        assert (classes is None) == (self.embedding is None), "give classes to a model of classes"
        if classes is None:
            return z
        return torch.cat([z, self.class_scale * embedded(classes, self.embedding)], 1)

    def fold(self) -> None:
        """Compute what only training needs in parts. Called when a generator was loaded."""

    def limit_detail(self, real: Tensor) -> Tensor:
        """Reduce reals [B, 3, H, W] to the detail that this generator can show at present."""
        return real


class Discriminator(nn.Module):
    """Maps pictures [B, 3, H, W] and classes to a list of logit maps [B, ...].

    `features(image)` gives the list of feature maps [B, D, h, w] that the logits come from.
    """

    map_weights: tuple[float, ...] | None = None  # of its maps in both losses; None = all 1
    own_maps: int | None = None  # what ADA and the log judge by: so many first maps; None = all

    def sight(self, image: Tensor) -> list[Tensor]:
        """What no weight of this network changes: the picture, and features by frozen networks.

        D and G can share it. Gradients reach the picture.
        """
        return [image]

    def logits(self, seen: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        """The maps of logits of what `sight` gave."""
        raise NotImplementedError

    def own_logits(self, image: Tensor, classes: Tensor | None = None) -> list[Tensor]:
        """The maps of which a gradient penalty is taken: those of no frozen network."""
        return self.logits([image], classes)

    def forward(self, image: Tensor | list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        """The maps of logits of a picture, or of its `sight`."""
        return self.logits(image if isinstance(image, list) else self.sight(image), classes)


def drawn(z: Tensor, anchors: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Latents [B, Z] drawn to the anchors [A, Z] that are most like them, and these anchors.

    The length of a latent stays. Of the anchors most like it there is a mean, of length 1.

    share   float32 [B, A], how much each anchor counts; None = all as much

    Codes of real pictures lie close to each other in few directions, and a random latent is far
    from all of them: G paints it as a fog of many pictures. So 0.8 of a latent becomes a mean of
    anchors, weighted as in attention by how alike they are (Ramsauer et al. 2021, "Hopfield
    Networks is All You Need", equation 3), and 0.6 remains its own: in squares, that is 1.
    """
    long = length(z)
    own = z / long
    weights = torch.softmax(_SHARPNESS * z.shape[1] ** 0.5 * (own @ anchors.T), 1)
    mean = (weights if share is None else weights * share) @ anchors  # [B, Z]
    mean = mean / length(mean)
    both = (1 - _OWN**2) ** 0.5 * mean + _OWN * own
    return both * long / length(both), mean


def length(z: Tensor) -> Tensor:
    """Of latents [B, Z]: [B, 1], above 0."""
    return (z * z).sum(1, keepdim=True).sqrt() + 1e-6


def growth_at(images_seen: int, images_per_phase: int) -> float:
    """The number of stages that a growing network has added (Karras et al. 2018).

    The network trains for one phase, fades in the next stage for one phase, and so on. For example
    2.25 means that two stages were added, and a quarter of the third.
    """
    phase, share = divmod(images_seen / images_per_phase, 1)
    return phase // 2 + (share if phase % 2 else 0.0)


def embedded(classes: Tensor, embedding: nn.Embedding) -> Tensor:
    """Vectors of labels int [B], or mixtures of vectors by weights float32 [B, classes]."""
    return _mixed(classes, embedding.weight)


def _mixed(classes: Tensor, rows: Tensor) -> Tensor:
    return classes @ rows if classes.is_floating_point() else rows_of(classes, rows)


def in_three(image: Tensor) -> Tensor:
    """The picture [B, 3 or 4, H, W] of what a network makes: one channel for grey, or all."""
    return torch.cat([image] * 3, 1) if image.shape[1] == 1 else image


def projected(
    features: Tensor, classes: Tensor | None, embedding: nn.Embedding | None
) -> Tensor | float:
    """<embedding(class), features> for features [B, D]: [B], or [K, B] for labels [K, B]."""
    assert (classes is None) == (embedding is None), "give classes to a model of classes only"
    return 0.0 if classes is None else (embedded(classes, embedding) * features).sum(-1)
