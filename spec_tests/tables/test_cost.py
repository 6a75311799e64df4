"""What rows cost: the library's counts against counts by hand, and a whole report of two small rows."""

import json
from dataclasses import replace

import pytest

from data_manifests.errors import BadInput
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations import profile as profiles
from paper_tables.planning import cost
from paper_tables.report import collect
from spec_tests.support.networks import torch_settings_kept

ROWS = {row.name: row for row in mmfas.TABLE_1.rows}


@pytest.fixture(autouse=True)
def torch_settings():
    with torch_settings_kept():
        yield


def count(name, side, *words):
    return cost.multiply_accumulates(cost.trial(ROWS[name], cost.CPU, "--image-size", str(side), *words), side)


def test_the_mixers_count_is_that_of_its_layers():
    patches, width, tokens, channels, layers = (64 // 16) ** 2, 512, 256, 2048, 8
    mixing = 2 * width * patches * tokens + 2 * patches * width * channels
    assert count("mlp_mixer_s16", 64) == patches * 768 * width + layers * mixing + 2 * width


def test_the_vision_transformers_count_is_that_of_its_layers_and_its_attention():
    patches, width, layers = (64 // 16) ** 2, 384, 12
    n = patches + 1
    block = 12 * n * width**2 + 2 * n**2 * width  # four projections and an MLP of four widths; q kᵀ, and its values
    assert count("vit_s16", 64) == patches * 3 * 768 * width + layers * block + 2 * width


@pytest.mark.parametrize(("variant", "published"), [("A", 80e6), ("B", 83e6)])
def test_feathernets_count_is_within_four_per_cent_below_what_its_paper_prints(variant, published):
    made = count("feathernet", 224, "--preset", "released", "--variant", variant)
    assert 0.96 * published < made <= published


@pytest.fixture(scope="module")
def report():
    cpu = profiles.load("cpu")
    small = replace(cpu, training=cpu.training | {"image-size": 32, "batch-size": 4}, tables={})
    with torch_settings_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "measurable", lambda table: [ROWS["mlp_mixer_s16"], ROWS["mmfas"]])
        return cost.measure(mmfas.TABLE_1, small, cost.CPU, rounds=1)


def test_a_report_has_counts_and_speeds_beside_mmfas(report):
    assert list(report["rows"]) == ["mlp_mixer_s16", "mmfas"]
    assert report["rows"]["mlp_mixer_s16"]["parameters"] == 18_016_290
    for row in report["rows"].values():
        assert row["training_seconds"] > row["scoring_seconds"] > 0
    head, mixer, own = report["text"]
    assert own[head.index("training time")] == own[head.index("scoring time")] == "1.00"
    ratio = report["rows"]["mlp_mixer_s16"]["training_seconds"] / report["rows"]["mmfas"]["training_seconds"]
    assert mixer[head.index("training time")] == f"{ratio:.2f}"
    assert mixer[1] == "18,016,290"


def test_the_report_is_what_the_page_collects(report, tmp_path):
    (tmp_path / "cost").mkdir()
    path = tmp_path / "cost" / "mmfas-table1.json"
    path.write_text(json.dumps(report))
    assert collect.costs(tmp_path) == [json.loads(json.dumps(report))]
    path.write_text(json.dumps({"title": "old"}))
    with pytest.raises(BadInput, match="it has no profile; delete it"):
        collect.costs(tmp_path)


def test_a_table_whose_rows_need_clip_is_refused():
    with pytest.raises(BadInput, match="mmda-table4: all its rows start from CLIP"):
        cost.measurable(mmda.TABLE_4)
    measured = cost.measurable(mmda.TABLE_1)
    assert measured[0] == cost.BASE
    assert not any(row.clip for row in measured)
    assert {row.name for row in mmda.TABLE_1.rows if row.program and row.sees and not row.clip} == {
        row.name for row in measured[1:]
    }
