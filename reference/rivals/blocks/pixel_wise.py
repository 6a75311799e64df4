"""The score of a network that judges every cell of a map and the whole image (DeepPixBiS, A-DeepPixBis)."""

from torch import Tensor

from reference.rivals.blocks.precision import at_least_float32


def score(cells: Tensor, image: Tensor, kind: str = "pixel_mean") -> Tensor:
    """Score (B,) in [0, 1] of logits cells (B, H, W) and image (B,): the mean sigmoid of the cells (pixel_mean), the
    sigmoid of the image (binary), or the mean of both (combined)."""
    of_cells, of_image = at_least_float32(cells).sigmoid().mean((1, 2)), at_least_float32(image).sigmoid()
    return {"pixel_mean": of_cells, "binary": of_image, "combined": (of_cells + of_image) / 2}[kind]
