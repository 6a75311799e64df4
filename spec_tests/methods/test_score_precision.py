"""What the arithmetic of scoring moves (training.py, L4): scores a little, their order hardly, ties not at all.

TF32 keeps ten bits of each factor and adds up in float32. A CPU does not have it: here factors are rounded by hand.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from data_manifests.errors import BadInput
from reference import evaluation, metrics, mmfas, training
from spec_tests.support.networks import images, scrambled

_ATEN = torch.ops.aten
_PRODUCTS = {
    _ATEN.mm.default, _ATEN.addmm.default, _ATEN.bmm.default, _ATEN.baddbmm.default, _ATEN.convolution.default,
}  # fmt: skip


def rounded(x: Tensor, bits: int = 10) -> Tensor:
    """float32 with `bits` bits behind the leading one, to the nearest, ties to even."""
    number, cut = x.view(torch.int32), 23 - bits
    odd = (number >> cut) & 1
    return (((number + (1 << (cut - 1)) - 1 + odd) >> cut) << cut).view(torch.float32)


class Tf32(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            args = [rounded(x) if isinstance(x, Tensor) and x.ndim >= 2 else x for x in args]
        return func(*args, **(kwargs or {}))


SAMPLES = 300


@pytest.fixture(scope="module")
def scored() -> dict[str, np.ndarray]:
    """Scores of one network and the same images in three arithmetics."""
    model = scrambled(mmfas.build(image_size=32), 0).eval()
    pictures = images(0, 32, batch=SAMPLES)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # in inference mode products come inside larger operations
        exact = -model(*pictures)
        with Tf32():
            tf32 = -model(*pictures)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = -model(*pictures).float()
    return {"float32": exact.numpy(), "tf32": tf32.numpy(), "bf16": coarse.numpy()}


def test_rounding_keeps_ten_bits_to_the_nearest() -> None:
    step = 2.0**-10
    x = torch.tensor([1.0, 1 + step, 1 + 0.49 * step, 1 + 0.51 * step, 1 + 0.5 * step, 1 + 1.5 * step, -3.0])
    expected = [1.0, 1 + step, 1.0, 1 + step, 1.0, 1 + 2 * step, -3.0]
    assert rounded(x).tolist() == expected


def test_tf32_moves_scores_by_a_small_part_of_their_spread_and_ties_hardly_any(scored: dict[str, np.ndarray]) -> None:
    exact, tf32 = scored["float32"], scored["tf32"]
    assert 0 < np.abs(tf32 - exact).max() < 0.1 * exact.std()  # of noise images, whose scores are nearly the same
    live = np.random.default_rng(0).random(SAMPLES) < 0.5
    for values in (exact, tf32):  # two of 300 may fall on one number of float32, near as they lie
        assert evaluation.figures({"val": values}, {"val": live})["val"]["tied"] < 0.02
    assert abs(metrics.auc(tf32, live) - metrics.auc(exact, live)) < 5e-3
    assert abs(metrics.eer(tf32, live)[0] - metrics.eer(exact, live)[0]) <= 2 / min(live.sum(), (~live).sum())


def test_bfloat16_ties_scores_which_is_why_nothing_is_scored_in_it(scored: dict[str, np.ndarray]) -> None:
    live = np.arange(SAMPLES) % 2 == 0
    assert evaluation.figures({"val": scored["bf16"]}, {"val": live})["val"]["tied"] > 0.1
    assert np.abs(scored["bf16"] - scored["float32"]).max() > 4 * np.abs(scored["tf32"] - scored["float32"]).max()


def test_ties_are_counted_as_shares_of_samples() -> None:
    live = np.array([True, True, False, False, False])
    found = evaluation.figures({"val": np.array([1, 1, 0, 2, 1], np.float32)}, {"val": live})
    assert found["val"]["tied"] == 0.6


def test_tf32_where_there_is_none_is_refused(tmp_path: Any) -> None:
    options = mmfas.Options(index=tmp_path, run_dir=tmp_path / "run", device="cpu", score_precision="tf32")
    with pytest.raises(BadInput, match=r"--score-precision tf32: only CUDA has this arithmetic; give float32 or auto"):
        training.Training(options, "mmfas", training.Path(mmfas.__file__))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: TF32 is tried as rounded by hand")
def test_tf32_of_the_device_moves_scores_as_little() -> None:
    model = scrambled(mmfas.build(image_size=32), 0).eval().cuda()
    pictures = [x.cuda() for x in images(0, 32, batch=SAMPLES)]
    found = {}
    for allowed in (False, True):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        with torch.inference_mode():
            found[allowed] = model(*pictures).cpu().numpy()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    assert 0 < np.abs(found[True] - found[False]).max() < 0.1 * found[False].std()
    assert np.unique(found[True]).size == SAMPLES
