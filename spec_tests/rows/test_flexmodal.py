"""FlexModal-FAS as a row of mmFAS's table: its presets. Network and training are tested in test_flex_modal.py."""

from pathlib import Path

from reference.rivals import flexmodal
from reference.rivals.blocks import flex_modal


def test_the_row_is_the_blocks_network_and_training() -> None:
    assert issubclass(flexmodal.Method, flex_modal.FlexModalMethod)
    assert {name for name in vars(flexmodal.Method) if not name.startswith("_")} == set()


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        flexmodal.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    assert [x.fusion for x in (table, described, released)] == ["sum", "concat", "sum"]
    assert [x.rate for x in (table, described, released)] == ["cosine", "halved", "halved_early"]
    assert [x.drop_modality for x in (table, described, released)] == [0, 0.5, 0.5]
    assert [x.cutout for x in (table, described, released)] == [0, 30, 30]
    assert [(x.brightness, x.gamma) for x in (table, described, released)] == [(0, 0), (40, 0.5), (40, 0.5)]
    assert [x.learning_rate for x in (table, described, released)] == [1e-4, 1e-5, 1e-5]
    assert [x.weight_decay for x in (table, described, released)] == [1e-2, 0.05, 0.05]
    assert [x.batch_size for x in (table, described, released)] == [128, 64, 64]
    for x in (table, described, released):
        assert (x.attention, x.final_norm, x.optimiser, x.epochs) == ("unscaled", "skipped", "adamw", 30)
        x.check()
