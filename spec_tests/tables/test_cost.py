"""What rows cost: the library's counts against counts by hand, and a whole report of two small rows."""

import json
from dataclasses import replace

import pytest

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from data_manifests.json_files import sealed
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations import profile as profiles
from paper_tables.planning import budget, cost
from paper_tables.planning.plan import Job
from paper_tables.report import collect
from reference import mmfas as own
from spec_tests.support.miniature import write_index
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
    path.write_bytes(sealed(report))
    (collected,) = collect.costs(tmp_path)
    assert collected | {"text": None} == json.loads(json.dumps(report)) | {"text": None}
    assert [[*row] for row in collected["text"]] == report["text"]
    path.write_text(json.dumps({"title": "old"}))
    with pytest.raises(BadInput, match="it has no profile; run `make cost TABLE=mmfas-table1` again, or delete it"):
        collect.costs(tmp_path)


@pytest.mark.parametrize("table", [mmfas.TABLE_1, mmda.TABLE_1, mmda.TABLE_4])
def test_every_row_that_looks_at_images_is_measured_beside_mmfas(table):
    measured = cost.measurable(table)
    assert cost.BASE in measured
    assert {row.name for row in measured} - {cost.BASE.name} == {
        row.name for row in table.rows if row.program and row.sees
    } - {cost.BASE.name}


CLIP_ROWS = {row.name: row for row in mmda.TABLE_1.rows}
VIT_B_16 = 196 * 768 * 768 + 12 * (12 * 197 * 768**2 + 2 * 197**2 * 768) + 768 * 512  # of one image of 224 x 224


def test_clip_costs_three_images_a_sample_and_its_captions_nothing():
    made = cost.trial(CLIP_ROWS["clip_zero_shot"], cost.CPU, "--image-size", "224", "--clip", "untrained")
    assert made.step is None
    assert cost.multiply_accumulates(made) == 3 * VIT_B_16 + 2 * 512


def test_a_frozen_tower_is_counted_once_and_apart():
    made = cost.trial(CLIP_ROWS["mmda"], cost.CPU, "--image-size", "48", "--clip", "untrained/phantom")
    assert cost.computed_once(made, 48) == 3 * (16 * 432 * 96 + 3 * (12 * 17 * 96**2 + 2 * 17**2 * 96) + 96 * 64)
    assert 0 < cost.multiply_accumulates(made, 48) - cost.computed_once(made, 48) < cost.computed_once(made, 48)
    trained = cost.trial(CLIP_ROWS["mmda_released"], cost.CPU, "--image-size", "48", "--clip", "untrained/phantom")
    assert trained.once is None


def job_of(row, folder, *words):
    command = ("python", "-m", row.program, "--index", str(folder), "--run-dir", "none", *row.options, *words)
    return Job(row, 0, folder, command, 1, 1.0)


def test_the_work_of_a_run_is_counted_from_its_command_and_its_index(tmp_path):
    # Of C 12 frames train, 4 validate and 8 test; S and W have 24 each.
    path = write_index(tmp_path, subjects=6, frames=2)
    index, small = load_index(path), ("--image-size", "16", "--batch-size", "8", "--epochs", "5")
    lean = budget.work(job_of(cost.BASE, path, *small), index, 1000)
    tests = 8 + 24 + 24
    assert (lean.trained, lean.scored, lean.once) == (5 * 2 * 8, 5 * 4 + 2 * tests, 0)
    more = ("--missing", "D", "I", "--score-tests", "every", "--evaluate-every", "2", "--no-keep-weights")
    every = budget.work(job_of(cost.BASE, path, *small, *more), index, 1000)
    assert (every.trained, every.scored) == (5 * 2 * 8, 3 * 4 + 3 * 3 * tests)
    assert lean.kept_bytes - 8 * 1000 < every.kept_bytes < lean.most_bytes
    official = ("--protocol", "official", "--sources", "CS", "--targets", "W", "--clip", "untrained")
    frozen = budget.work(job_of(CLIP_ROWS["mmda"], path, *official, "--epochs", "2"), index, 1000)
    assert (frozen.trained, frozen.scored, frozen.once) == (2 * 24, 2 * (8 + 8), 24 + 8 + 8)
    zero = budget.work(job_of(CLIP_ROWS["clip_zero_shot"], path, *official), index, 1000)
    assert (zero.trained, zero.scored) == (0, 8 + 8)


def test_a_budget_multiplies_counts_by_measured_seconds(tmp_path):
    path = write_index(tmp_path, subjects=6, frames=2)
    jobs = [job_of(cost.BASE, path, "--image-size", "16", "--batch-size", "8", "--epochs", "5")] * 2
    measured = {"weights": 1000, "label": "mmFAS", "multiply_accumulates": 7, "computed_once": 0}
    measured |= {"training_seconds": 3.0, "scoring_seconds": 0.5}
    (row,) = budget.of(jobs, load_index(path), {cost.BASE.name: measured})
    assert row["hours"] == pytest.approx(2 * (80 * 3.0 + 132 * 0.5) / 3600)
    assert row["operations"] == 2 * 7 * 2 * (3 * 80 + 132)
    assert (row["runs"], row["trained"], row["scored"]) == (2, 160, 264)


def test_what_a_run_keeps_is_what_the_budget_says(tmp_path):
    path = write_index(tmp_path, subjects=6, frames=2)
    words = ["--image-size", "16", "--batch-size", "8", "--epochs", "2", "--device", "cpu"]
    options = own.Options(index=path, run_dir=tmp_path / "run", cache_dir=tmp_path / "c", image_size=16, batch_size=8,
                          epochs=2, device="cpu")  # fmt: skip
    own.train(options)
    weights = sum(x.numel() for x in options.model().state_dict().values())
    kept = sum(f.stat().st_size for f in (tmp_path / "run").rglob("*") if f.is_file())
    assert kept == pytest.approx(
        budget.work(job_of(cost.BASE, path, *words), load_index(path), weights).kept_bytes, rel=0.01
    )
