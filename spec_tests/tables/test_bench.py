"""The bench: what is compared does the same, what is counted is counted right, and every item runs."""

import json
from fractions import Fraction
from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from paper_tables.bench import __main__ as bench
from paper_tables.bench import items, page, products, steps
from paper_tables.bench.peers import peer
from reference import mmfas
from reference.sources import ROOT
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import batch_of, images, scrambled, torch_settings_kept

RESULTS = sorted((ROOT / "paper_tables" / "bench" / "results").glob("*/bench.json"))
LIBRARIES = ("torch", "timm")
OF_ALL = {"name", "n", "seconds", "units", "unit", "per_second", "ratio", "memory_bytes", "first_call_seconds"}


@pytest.fixture(autouse=True)
def torch_settings():
    with torch_settings_kept():
        torch.backends.mha.set_fastpath_enabled(False)
        yield


def coverage(n, place):
    """How likely the median lies between the `place`-th values from either end, of n."""
    return 1 - 2 * Fraction(sum(comb(n, k) for k in range(place)), 2**n)


@given(values=st.lists(st.floats(0.1, 10), min_size=6, max_size=40, unique=True))
def test_an_interval_is_the_narrowest_of_its_kind_that_covers_the_median(values):
    low, high = items.median_interval(values)
    place = sorted(values).index(low) + 1
    assert sorted(values)[-place] == high
    assert coverage(len(values), place) >= Fraction(95, 100) > coverage(len(values), place + 1)


@given(values=st.lists(st.floats(0.1, 10), max_size=5))
def test_fewer_than_six_rounds_give_no_interval(values):
    assert items.median_interval(values) is None
    assert coverage(5, 1) < Fraction(95, 100) <= coverage(items.LEAST_ROUNDS, 1)


# --- peers do the same -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=2)
@given(seed=st.integers(0, 2**31), side=st.sampled_from([16, 32]))
def test_a_peer_is_mmfas(library, seed, side):
    ours = scrambled(mmfas.build(image_size=side), seed).double()
    theirs = peer(ours, library)
    inputs = [x.double() for x in images(seed, side)]
    found = []
    for network in (ours, theirs):
        pictures = [x.clone().requires_grad_() for x in inputs]
        out = network(*pictures)
        out.sum().backward()
        found.append([out.detach(), *(x.grad for x in pictures)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    trained = [sum(p.numel() for p in n.parameters() if p.requires_grad) for n in (ours, theirs)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_peer_trains_as_mmfas_does(library):
    setting = items.Setting(torch.device("cpu"), 1, 32, 4, ROOT)
    (ours, a, _), (theirs, b, _) = (steps.mmfas_on_noise(setting, name) for name in (None, library))
    first = ours(), theirs()
    for name, loss in first[0].items():
        torch.testing.assert_close(first[1][name], loss, rtol=1e-5, atol=1e-5)
    again = ours()["loss"], theirs()["loss"]
    assert abs(again[0] - first[0]["loss"]) > 1e-2  # the step has moved the weights
    torch.testing.assert_close(again[1], again[0], rtol=1e-3, atol=1e-3)
    pictures = batch_of(images(0, 32)).images
    torch.testing.assert_close(b(*pictures), a(*pictures), rtol=1e-2, atol=1e-2)


def test_other_readings_have_no_peer():
    with pytest.raises(ValueError, match="default readings alone"):
        peer(mmfas.build(image_size=16, readings=mmfas.Readings(update="all")), "torch")


@pytest.mark.parametrize("freeze", ["all", "none"])
def test_the_released_procedure_is_mmdas_step(freeze):
    setting = items.Setting(torch.device("cpu"), 1, 48, 6, ROOT)
    networks, (ours, released) = zip(*steps.mmda_steps(setting, freeze, "untrained/phantom", 6), strict=True)
    for network in networks:
        network.eval()  # nothing is drawn then
        network.adaptor.r.__dict__["router_at_test"] = "expected"
    first, second = ours(), released()
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(*(n.parameters() for n in networks), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


# --- counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "samples"), [(16, 2), (96, 4)])
def test_the_formula_is_what_is_counted(side, samples):
    setting = items.Setting(torch.device("cpu"), 1, side, samples, ROOT)
    for library in (None, *LIBRARIES):
        step, model, batch = steps.mmfas_on_noise(setting, library)
        assert products.counted(step) == products.mmfas_step(side, samples)
        with torch.no_grad():
            assert products.counted(lambda: model(*batch.images)) == samples * products.mmfas_forward(side)  # noqa: B023


def test_traffic_is_what_operations_read_and_write():
    a, b = torch.zeros(3, 4), torch.zeros(4, 5)
    assert products.traffic(lambda: a @ b) == 4 * (12 + 20 + 15)
    assert products.traffic(lambda: a.view(4, 3).T[1:]) == 0
    assert products.traffic(lambda: a.add_(1)) == 4 * (12 + 12)


def test_matrix_products_are_most_of_a_large_product_and_none_of_a_sum():
    a = torch.ones(256, 256)
    assert products.matrix_share(lambda: a @ a, torch.device("cpu")) > 0.5
    assert products.matrix_share(lambda: a + a, torch.device("cpu")) == 0


# --- the whole ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    index = write_index(folder / "data", subjects=4, frames=2, sets="C")
    with torch_settings_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmfas, "ENCODER_DEPTH", 1)  # fewer layers take less time
        patch.setitem(mmfas.SHAPES, "table2", mmfas.Shape(1, True))
        found = bench.run(bench.setting_of("cpu", index, 1, tiny=True), None, 1e9, folder / "out", "make bench")
        bench.write(found, folder / "out")
    return folder / "out"


def test_every_item_runs_and_every_field_is_written(report):
    found = json.loads((report / "bench.json").read_bytes())
    named = [group["name"] for group in found["groups"]]
    assert {"peak", "peers-32", "ingredients", "mmda-frozen", "loading", "decoding", "eer-10000"} < set(named)
    assert found["left_out"] == []
    for group in found["groups"]:
        assert "error" not in group, group
        for item in group["items"]:
            assert item.keys() >= OF_ALL
            assert item["seconds"].keys() == {"lower_quartile", "median", "upper_quartile"}
            assert ("macs" in item) == ("precision" in item)
            if "precision" in item and group["name"] != "peak":
                assert item["mode"] == "eager"
        assert group["items"][0]["ratio"]["median"] == 1
    assert found.keys() >= {"command", "date", "device", "cpu", "torch", "threads"}


def test_the_page_shows_every_group_and_the_picture_every_counted_step(report):
    found = json.loads((report / "bench.json").read_bytes())
    text = (report / "bench.md").read_text()
    for group in found["groups"]:
        assert f"## {group['title']}" in text
    assert {name for _, name, _, _ in page.placed(found)} >= {"mmFAS", "timm's blocks"}
    assert (report / "roofline.svg").read_text().count("mmFAS's step beside peers") == 1
    assert (report / "roofline.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_a_committed_result_makes_its_committed_tables(path, tmp_path):
    bench.main(["--out", str(tmp_path), "--page", str(path)])
    assert (tmp_path / "bench.md").read_text() == (path.parent / "bench.md").read_text()
    assert (tmp_path / "roofline.svg").exists()


def test_groups_that_begin_too_late_are_named(tmp_path):
    setting = bench.setting_of("cpu", ROOT, 1, tiny=True)
    found = bench.run(setting, "eer-10000", -1, tmp_path, "make bench")
    assert found["left_out"] == ["peak", "eer-10000"]
    assert "Not measured, because the time was up: peak, eer-10000." in page.markdown(found)


def test_a_group_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(setting):
        raise RuntimeError("no such kernel\nmore")

    monkeypatch.setattr(bench, "groups", lambda setting: [items.Group("a", "A", broken), bench.peak.GROUP])
    found = bench.run(bench.setting_of("cpu", ROOT, 1, tiny=True), None, 1e9, tmp_path, "make bench")
    assert found["groups"][0] == {"name": "a", "title": "A", "error": "RuntimeError: no such kernel"}
    assert "items" in found["groups"][1]


def test_an_unknown_group_is_refused(tmp_path):
    with pytest.raises(BadInput, match="--groups x: no such group; choose from peak, "):
        bench.run(bench.setting_of("cpu", ROOT, 1, tiny=True), "x", 1, tmp_path, "make bench")
    assert not any(tmp_path.iterdir())


def test_a_cpu_trains_in_float32():
    assert not steps.bf16(bench.setting_of("cpu", ROOT, 1))


def test_ingredients_are_put_back():
    torch.use_deterministic_algorithms(True)
    with steps.determinism(False), steps.written_out():
        assert not torch.are_deterministic_algorithms_enabled()
        assert mmfas.F.scaled_dot_product_attention is mmfas.attention
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.nn.functional.scaled_dot_product_attention is not mmfas.attention
    assert frozenset({"cuda"}) == mmfas.PADDED
