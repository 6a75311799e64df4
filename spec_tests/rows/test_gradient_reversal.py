"""Training through a reversed gradient on a toy problem: what the adversary looks for is no longer there."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.rivals.blocks.gradient_reversal import reversal_coefficient, reverse_gradient

SAMPLES, STEPS, PROBE_STEPS, RATE, PROBE_RATE = 400, 150, 100, 0.1, 0.5
PLACE, LABEL = torch.arange(SAMPLES) % 2, torch.arange(SAMPLES) // 2 % 2


def accuracy(logits: Tensor, target: Tensor) -> float:
    return (logits.argmax(1) == target).double().mean().item()


def trained(reverses: bool, seed: int) -> tuple[float, float]:
    """How often a fresh probe tells the data sets apart by a feature that was trained with an adversary, and how often
    the classifier tells the classes apart.

    A sample is its data set and its class, each -1 or 1, and its feature has noise of deviation 1, below which a
    direction that shrinks is lost.
    """
    torch.manual_seed(seed)
    noise = torch.Generator().manual_seed(seed)
    samples = torch.stack([PLACE, LABEL], 1) * 2.0 - 1
    extract, classify, adversary, probe = (nn.Linear(2, 2) for _ in range(4))

    def features() -> Tensor:
        return extract(samples) + torch.randn(SAMPLES, 2, generator=noise)

    groups = [
        {"params": [*extract.parameters(), *classify.parameters()], "lr": RATE},
        {"params": adversary.parameters()},
    ]
    optimiser = torch.optim.SGD(groups, lr=PROBE_RATE)
    for step in range(STEPS):
        x = features()
        coefficient = reversal_coefficient(step / STEPS) if reverses else -1.0  # which leaves a gradient as it is
        guesses = adversary(reverse_gradient(x, coefficient))
        optimiser.zero_grad()
        (F.cross_entropy(classify(x), LABEL) + F.cross_entropy(guesses, PLACE)).backward()
        optimiser.step()
    optimiser = torch.optim.SGD(probe.parameters(), lr=PROBE_RATE)
    for _ in range(PROBE_STEPS):
        optimiser.zero_grad()
        F.cross_entropy(probe(features().detach()), PLACE).backward()
        optimiser.step()
    with torch.no_grad():
        x = features()
        return accuracy(probe(x), PLACE), accuracy(classify(x), LABEL)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_data_set_cannot_be_read_after_training_against_its_reader(seed: int) -> None:
    place, label = trained(reverses=True, seed=seed)
    assert abs(place - 0.5) < 0.1
    assert label > 0.95


def test_a_data_set_can_be_read_after_training_with_its_reader() -> None:
    place, label = trained(reverses=False, seed=0)
    assert min(place, label) > 0.95
