"""A CLIP of a few thousand weights besides its vocabulary, never trained, for tests in seconds."""

import torch
from open_clip.model import CLIP

from reference.clip import Clip

SIDE, DIM = 32, 32


def tiny_clip(seed: int = 0) -> Clip:
    """Images of 32 x 32 in four patches, one layer in each tower, a shared space of 32."""
    vision = {"image_size": SIDE, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
    text = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Clip(CLIP(DIM, vision, text), "tiny CLIP, untrained", f"{seed:064x}")
