"""CLIP without any training: the row that MMDA's tables call CLIP, at its least.

    python -m reference.rivals.clip_zero_shot --index build/…/index.csv --targets W --clip phantom \\
        --run-dir build/runs/zero

Each class is the mean of its captions' L2-normalised text features; each sample the mean of the L2-normalised
features of its three images. The score is the cosine with the bona fide class minus that with the spoof class.
How the published row fuses modalities and what it was asked is stated nowhere; these are decisions of this project.
"""

from reference.rivals import method
from reference.rivals.blocks.clip_classifier import ClipMethod, Options


class Method(ClipMethod):
    """CLIP as it is: without losses, so that nothing is trained."""


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
