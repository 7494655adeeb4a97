"""How a class enters a network: as numbers beside the latent, or as a projection of features.

B batch   D width of the features
"""

import torch
from torch import nn

CLASS_DIM = 64  # length of the vector that stands for a class beside the latent


def embedded(classes: torch.Tensor, embedding: nn.Embedding) -> torch.Tensor:
    """Vectors of labels int [B], or mixtures of vectors by weights float32 [B, classes]."""
    return classes @ embedding.weight if classes.is_floating_point() else embedding(classes)


def with_classes(
    z: torch.Tensor, classes: torch.Tensor | None, embedding: nn.Embedding | None
) -> torch.Tensor:
    """Append the vector of its class to each latent."""
    assert (classes is None) == (embedding is None), "give classes to a model of classes only"
    return z if classes is None else torch.cat([z, embedded(classes, embedding)], 1)


def projected(
    features: torch.Tensor, classes: torch.Tensor | None, embedding: nn.Embedding | None
) -> torch.Tensor | float:
    """<embedding(class), features> for features [B, D]: [B]."""
    assert (classes is None) == (embedding is None), "give classes to a model of classes only"
    return 0.0 if classes is None else (embedded(classes, embedding) * features).sum(1)
