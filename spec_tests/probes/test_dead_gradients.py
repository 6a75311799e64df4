"""The probe of gradients: what a loss reaches, what of it is only computed, what a merge of gradients lets through."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.probes import dead_gradients
from reference.probes.dead_gradients import Finding, Part
from reference.rivals import rows, vitaf
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import batch_of, images, torch_settings_kept

CPU = torch.device("cpu")


class Three(nn.Module):
    """Three numbers, a mean that every pass moves, and a draw."""

    moving: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Parameter(torch.tensor(float(i))) for i in (2, 3, 5))
        self.register_buffer("moving", torch.zeros(()))


def test_parts_of_a_sum_have_their_weight_and_move_what_they_reach() -> None:
    model = Three()
    named = dict(model.named_parameters())
    parts = {
        "near": model.first * model.second,
        "far": model.third**2,
        "computed": model.third * 7,
        "cancelled": model.first * 0,
        "constant": torch.tensor(4.0),
    }
    losses = {"loss": parts["near"] + 0.5 * parts["far"] + parts["cancelled"] + parts["constant"], **parts}
    assert dead_gradients.added_parts(losses, named) == {
        "near": Part(1.0, {"first", "second"}),
        "far": Part(0.5, {"third"}),
        "computed": Part(0.0, set()),
        "cancelled": Part(1.0, set()),
    }


def test_a_parameter_that_rests_at_a_step_is_moved_by_nothing() -> None:
    model = Three()
    named = dict(model.named_parameters())
    model.first.requires_grad_(False)
    part = model.first * model.second
    assert dead_gradients.added_parts({"loss": part, "part": part}, named) == {"part": Part(1.0, {"second"})}


def test_what_learns_in_the_first_stage_alone_is_seen_to_learn(tmp_path: Path) -> None:
    """ViTAF's classifier rests from the second of its 41 epochs on, when its adapters begin to learn."""
    options = vitaf.Options(
        index=write_index(tmp_path / "miniature"), run_dir=tmp_path / "run", cache_dir=tmp_path / "cache", device="cpu",
        protocol="official", image_size=32, width=8, depth=2, heads=2, bottleneck=2, batch_size=6,
    )  # fmt: skip
    with torch_settings_kept():
        finding = dead_gradients.look(rows.load()["vitaf"], options)
    assert finding.never == []
    of_classes, of_cosines = (finding.parts[name].moved for name in ("classes", "cosines"))
    assert {f"classifier.{part}.weight" for part in ("hidden", "classes")} <= of_classes - of_cosines
    assert {name for name in finding.sizes if "after_attention" in name} <= of_classes


class Merging:
    """A method that adds the gradient of "own" to the first number alone, whatever it reaches, and has "added" in its
    loss, of which it takes the gradient as it is."""

    def __init__(self) -> None:
        self.network, self.draws = Three(), torch.Generator().manual_seed(0)

    def forward(self, batch: Batch) -> Tensor:
        self.network.moving += 1
        return torch.rand((), generator=self.draws) + torch.rand(()) + self.network.moving

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        n = self.network
        own, added = output * n.first * n.second, output * n.second**3
        return {"loss": output * n.third**2 + 0.5 * added, "added": added, "own": own, "unused": n.second**2}

    def backward(self, losses: dict[str, Tensor]) -> None:
        losses["loss"].backward(retain_graph=True)
        (self.network.first.grad,) = torch.autograd.grad(losses["own"], self.network.first, retain_graph=True)


def test_a_merge_of_gradients_moves_what_changes_without_the_part() -> None:
    made: Any = Merging()
    named = dict(made.network.named_parameters())
    found = dead_gradients.merged_parts(made, batch_of(images(0, 4)), named, CPU)
    # Draws and buffers are the same each time, or the third number would seem to be moved by all of them.
    assert found == {
        "added": Part(None, {"second"}),
        "own": Part(None, {"first"}),
        "unused": Part(None, set()),
    }


def test_names_are_counted_by_what_differs_in_numbers_alone() -> None:
    names = ["a.0.weight", "a.0.bias", "a.12.weight", "token", "b.c.1.d.bias"]
    assert dead_gradients.grouped(names) == "a.* (3), token (1), b.c.*.d (1)"


def test_lines_tell_what_is_moved_and_what_is_left() -> None:
    finding = Finding({"a.weight": 6, "b.weight": 4}, 0, {"a.weight"}, {"x": Part(None, set()), "y": Part(0.0, set())})
    assert finding.never == ["b.weight"]
    name = "VP-FAS (reconstruction)"  # it is not the authors' method, wherever it is named
    assert dead_gradients.text_of(rows.load()["vp_fas"], "table", finding) == [
        [name, "table", "loss", "1", "1 of 2", "6", "b (1)"],
        [name, "table", "x", "merged", "0 of 2", "0", "everything"],
        [name, "table", "y", "not in the loss", "0 of 2", "0", "everything"],
    ]


def test_the_tables_are_written_for_the_rows_that_are_named(tmp_path: Path) -> None:
    index = write_index(tmp_path / "miniature")
    options = dead_gradients.Options(
        index=index, cache_dir=tmp_path / "cache", device="cpu", out=tmp_path / "out", methods="feathernet"
    )
    with torch_settings_kept():
        dead_gradients.run(options)
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert list(table["rows"]) == ["feathernet"]
    assert list(table["rows"]["feathernet"]) == ["table", "described", "released"]
    for found in table["rows"]["feathernet"].values():
        assert found["never"] == []
        assert found["frozen"] == 0
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| FeatherNet")] == ["| FeatherNet"] * len(
        table["text"]
    )


def test_a_row_that_does_not_train_is_refused_by_name(tmp_path: Path) -> None:
    options = dead_gradients.Options(index=Path("none"), out=tmp_path, methods="ssdg,coin")
    with pytest.raises(BadInput, match="--methods coin: no comparison row that trains; choose from deeppixbis"):
        dead_gradients.run(options)
