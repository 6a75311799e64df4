"""Changes of colour saturation, which FLIP and ViTAF share."""

import torch
from torch import Tensor

from reference.rivals.blocks.saturation import saturated


def of_grey(*values: float) -> Tensor:
    return torch.tensor(values)[None, :, None, None] / 127.5 - 1


def test_saturation_worked_by_hand() -> None:
    x = of_grey(200, 100, 0)
    for factor, clipped, wrapped in ((1.0, (200, 100, 0), (200, 100, 0)), (0.5, (200, 150, 100), (200, 150, 100))):
        for wraps, expected in ((False, clipped), (True, wrapped)):
            torch.testing.assert_close(saturated(x, torch.tensor([factor]), wraps), of_grey(*expected))
    torch.testing.assert_close(saturated(x, torch.tensor([1.25]), False), of_grey(200, 75, 0))
    torch.testing.assert_close(saturated(x, torch.tensor([1.25]), True), of_grey(200, 75, 256 - 50))
    torch.testing.assert_close(saturated(of_grey(200, 3, 3), torch.tensor([1.25]), True), of_grey(200, 210, 210))
    y = of_grey(101, 100, 98)  # 101 - 1.25 * 3 = 97.25
    torch.testing.assert_close(saturated(y, torch.tensor([1.25]), False), of_grey(101, 99.75, 97.25))
    torch.testing.assert_close(saturated(y, torch.tensor([1.25]), True), of_grey(101, 99, 97))
    both = saturated(torch.cat([x, x]), torch.tensor([0.0, 1.0]), False)
    torch.testing.assert_close(both, torch.cat([of_grey(200, 200, 200), x]))
