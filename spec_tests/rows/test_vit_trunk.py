"""The options of a transformer that three modalities share; its network is tested with its row, in test_vit.py."""

from pathlib import Path
from typing import Any

import pytest

from data_manifests.errors import BadInput
from reference.rivals.blocks import vit_trunk

SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2}


def sizes(**chosen: Any) -> vit_trunk.Sizes:
    return vit_trunk.Sizes(index=Path(), run_dir=Path(), **(SMALL | chosen))


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"image_size": 14}, "--image-size 14: this network needs a multiple of 4"),
        ({"patch": 16}, "--patch 16: the image has 12 pixels; give at most 12"),
        ({"patch": 0}, "--patch 0: give at least 1"),
        ({"width": 7}, "--width 7: give a multiple of --heads 2"),
        ({"width": 0}, "--width 0: give at least 1"),
        ({"heads": 0}, "--heads 0: give at least 1"),
        ({"depth": 0}, "--depth 0: give at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        sizes(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_sizes_may_be() -> None:
    sizes(patch=12, depth=1, heads=1, width=1).check()


def test_the_sizes_are_those_of_vit_b_16_unless_others_are_given() -> None:
    usual = vit_trunk.Sizes(index=Path(), run_dir=Path())
    assert (usual.image_size, usual.patch, usual.width, usual.depth, usual.heads) == (224, 16, 768, 12, 12)


def test_presets_of_the_shared_trunk() -> None:
    for preset, positions in {"table": "anew", "described": "kept", "released": "kept"}.items():
        given = vit_trunk.Options(index=Path(), run_dir=Path(), preset=preset)
        assert (given.trained, given.positions, given.embedding) == ("last", positions, "shared")
