"""Comparison rows in small, with fresh weights, for a step on images of noise."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.batches import Batch
from reference.rivals import rows
from reference.rivals.blocks import clip_classifier
from reference.rivals.method import Method
from reference.rivals.rows import Row
from spec_tests.support.networks import batch_of, images
from spec_tests.support.tiny_clip import tiny_clip

BATCH = 12
TRAINED = [row for row in rows.load().values() if row.implemented and row.sees and row.trains]


@contextmanager
def tiny_row(row: Row, **options: Any) -> Iterator[Method[Any]]:
    """The row's method in the smallest sizes of its stanza, its network built and put to training; and, as long as the
    context lasts, its module's constants as small."""
    module = importlib.import_module(row.program)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in row.narrow.items():
            if name.isupper():
                patch.setattr(module, name, value)
        patch.setattr(clip_classifier, "load_clip", lambda *_: tiny_clip())
        narrow = {k.replace("-", "_"): v for k, v in (row.smallest | row.narrow).items() if not k.isupper()}
        usual = {"device": "cpu", "batch_size": BATCH, "index": Path(), "run_dir": Path()}
        torch.manual_seed(0)
        made = module.Method(module.Options(**(usual | narrow | options)), torch.device("cpu"))
        made.domains = (0, 1, 2)
        made.network, made.draws = made.build().train(), torch.Generator().manual_seed(0)
        yield made


def batch_for(row: Row) -> Batch:
    """A batch of noise of both classes and three data sets, of the row's smallest side."""
    return batch_of(images(0, int(row.smallest["image-size"]), batch=BATCH), torch.tensor([0.0, 1.0] * (BATCH // 2)))
