"""A run is a folder that proves itself: what was asked, where it ran, what came out, and how to go on.

`Run(folder, …)` starts a new folder, continues an unfinished one bit for bit, or refuses one that was begun
with other arguments, another index or another source text. The files are those of README, "A run":

  args.json          every argument, the seed, the hashes of the index, the images and the source files, the commit
  env.json           python, torch, CUDA, device, CPU, threads, attention backend
  metrics.jsonl      a line an epoch
  scores/<set>.npz   scores (epochs, N) of every sample, with what is needed to evaluate them again
  checkpoint.pt      weights, optimiser, position, every random state
  model.safetensors  the last weights
  done               written last

Order matters: an epoch's scores and metrics line are written first, its checkpoint after them; so whatever
a killed run had written beyond its last checkpoint is cut off again when it is continued.
"""

import fcntl
import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from data_manifests.errors import BadInput, replacing
from reference import metrics
from reference.data import Faces
from reference.environment import git_commit
from reference.sources import ROOT


def sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Run:
    """One run folder, locked against a second process while this one lives."""

    def __init__(
        self,
        folder: Path,
        arguments: dict[str, Any],
        index_sha256: str,
        sources: list[Path],
        env: dict[str, Any],
    ) -> None:
        """Start or continue `folder`. Raises BadInput when it belongs to another run or is in use."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._begin(arguments, index_sha256, sources, env)
            self.lines = self._read_lines()
        except BaseException:
            self.close()
            raise

    def _begin(self, arguments: dict[str, Any], index_sha256: str, sources: list[Path], env: dict[str, Any]) -> None:
        wanted = {
            "arguments": arguments,
            "seed": arguments["seed"],
            "index_sha256": index_sha256,
            "sources": {str(p.resolve().relative_to(ROOT)): sha256(p) for p in sources},
            "git_commit": git_commit(),
        }
        wanted = json.loads(json.dumps(wanted))
        path = self.folder / "args.json"
        if path.exists():
            self._same_run(path, wanted)
        else:
            own = {".lock", "env.json", ".env.json.tmp", ".args.json.tmp"}  # a start that was killed leaves these
            foreign = [p.name for p in self.folder.iterdir() if p.name not in own]
            if foreign:
                raise BadInput(
                    f"{self.folder}: holds {sorted(foreign)[0]} but no args.json, so it is not a run folder; "
                    "name an empty or new folder with --run-dir"
                )
            self._write_json("env.json", env)
            self._write_json("args.json", wanted)

    def _locked(self) -> TextIO:
        handle = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            handle.close()
            raise BadInput(f"{self.folder}: another process is writing this run; wait for it or stop it") from e
        return handle

    def close(self) -> None:
        self._lock.close()

    def _same_run(self, path: Path, wanted: dict[str, Any]) -> None:
        try:
            found = json.loads(path.read_text())
            missing = wanted.keys() - found.keys()
        except (ValueError, AttributeError) as e:
            raise BadInput(f"{path}: not a JSON object; delete the folder to start this run again") from e
        if missing:
            raise BadInput(f"{path}: lacks {sorted(missing)[0]}; delete the folder to start this run again")
        differing = [
            f"{key} {found['arguments'].get(key)!r} there, {value!r} here"
            for key, value in wanted["arguments"].items()
            if found["arguments"].get(key) != value
        ]
        differing += [f"argument {key} only there" for key in found["arguments"] if key not in wanted["arguments"]]
        if found["index_sha256"] != wanted["index_sha256"]:
            differing.append("another index")
        if found["sources"] != wanted["sources"]:
            changed = sorted(set(found["sources"].items()) ^ set(wanted["sources"].items()))
            differing.append(f"another text of {changed[0][0]}")
        if differing:
            raise BadInput(
                f"{path}: this run was begun otherwise ({'; '.join(differing)}); "
                "name another --run-dir, or delete that folder"
            )

    def same_images(self, images_sha256: str) -> None:
        """Note in args.json which images are decoded. Raises BadInput when a run would go on with other ones."""
        path = self.folder / "args.json"
        args = json.loads(path.read_text())
        known = args.setdefault("images_sha256", images_sha256)
        if known != images_sha256:
            raise BadInput(
                f"{path}: images_sha256 there is of other images than those now on disk; restore them, or name "
                "another --run-dir"
            )
        self._write_json("args.json", args)

    def _write_json(self, name: str, value: Any) -> None:
        with replacing(self.folder / name) as f:
            f.write((json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def _read_lines(self) -> list[dict[str, Any]]:
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        text = path.read_text()
        # A killed run can leave its last line unfinished; it lies beyond the checkpoint and is cut off there.
        whole = text[: text.rfind("\n") + 1]
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as e:
            raise BadInput(f"{path}: a line is not valid JSON; delete {self.folder} to start this run again") from e

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    def log(self, line: dict[str, Any]) -> None:
        """Append one epoch to metrics.jsonl."""
        self.lines.append(line)
        self._write_lines()

    def _write_lines(self) -> None:
        with replacing(self.folder / "metrics.jsonl") as f:
            f.write("".join(json.dumps(line) + "\n" for line in self.lines).encode())

    def save_scores(
        self,
        name: str,
        epoch: int,
        scores: NDArray[np.float32],
        faces: Faces,
        rows: NDArray[np.int64],
        heads: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """Add one epoch's scores (N,) of the samples `rows` to scores/<name>.npz.

        A model of several outputs hands in the scores of each as `heads`; the file then has their names `heads`
        (H,) and `head_scores` (epochs, H, N).
        """
        path = self.folder / "scores" / f"{name}.npz"
        new: dict[str, Any] = {"epochs": np.array([epoch]), "scores": scores[None].astype(np.float32)}
        if heads:
            new["head_scores"] = np.stack([*heads.values()])[None].astype(np.float32)
        if path.exists():
            with np.load(path, allow_pickle=False) as old:
                before = old["epochs"] < epoch
                new = {key: np.concatenate([old[key][before], values]) for key, values in new.items()}
        present = faces.present[rows]
        present[:, ["RDI".index(modality) for modality in missing_in(name)]] = False
        if heads:
            new["heads"] = np.array([*heads])
        with replacing(path) as f:
            np.savez_compressed(
                f,
                **new,
                sample_id=faces.sample_id[rows],
                bonafide=faces.bonafide[rows],
                family=faces.family[rows],
                subject=faces.subject[rows],
                present=present,
            )

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write checkpoint.pt whole or not at all. `state["epoch"]` counts the epochs already logged."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with replacing(self.folder / "checkpoint.pt") as f:
            f.write(buffer.getbuffer())

    def load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """The last checkpoint, or None; metrics.jsonl and scores are cut back to the moment it was written."""
        path = self.folder / "checkpoint.pt"
        state: dict[str, Any] | None = None
        if path.exists():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                if not isinstance(state, dict) or not isinstance(state.get("epoch"), int):
                    raise ValueError("not a checkpoint")
            except Exception as e:  # torch raises many kinds for a damaged file; each means the same here
                raise BadInput(
                    f"{path}: damaged or not a checkpoint of this project; delete it to train this run from its start"
                ) from e
        epoch = state["epoch"] if state else 0
        if len(self.lines) > epoch:
            self.lines = self.lines[:epoch]
            self._write_lines()
        for scores in sorted((self.folder / "scores").glob("*.npz")):
            self._cut_scores(scores, epoch)
        return state

    @staticmethod
    def _cut_scores(path: Path, epoch: int) -> None:
        with np.load(path, allow_pickle=False) as old:
            arrays = {key: old[key] for key in old.files}
        keep = arrays["epochs"] < epoch
        if keep.all():
            return
        if not keep.any():
            path.unlink()
            return
        arrays |= {key: arrays[key][keep] for key in ("epochs", "scores", "head_scores") if key in arrays}
        with replacing(path) as f:
            np.savez_compressed(f, **arrays)

    def finish(self, weights: dict[str, torch.Tensor]) -> None:
        """Write model.safetensors and then the marker `done`."""
        from safetensors.torch import save  # not needed by those who only read runs

        with replacing(self.folder / "model.safetensors") as f:
            f.write(save({k: v.detach().cpu().contiguous() for k, v in weights.items()}))
        with replacing(self.folder / "done") as f:
            f.write(time.strftime("%Y-%m-%dT%H:%M:%S%z\n").encode())


def evaluate(scores: dict[str, NDArray[np.float32]], bonafide: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """What metrics.jsonl says of each set: EER and its threshold there, HTER at the validation set's EER
    threshold, AUC. `scores` and `bonafide` are keyed by set; `val` is the source's validation set."""
    _, source_threshold = metrics.eer(scores["val"], bonafide["val"])
    report = {}
    for name, s in scores.items():
        rate, threshold = metrics.eer(s, bonafide[name])
        report[name] = {
            "eer": rate,
            "eer_threshold": threshold,
            "hter_source_val": metrics.hter(s, bonafide[name], source_threshold),
            "auc": metrics.auc(s, bonafide[name]),
        }
    return report


def evaluation_sets(
    faces: Faces, val: NDArray[np.int64], test: NDArray[np.int64], missing: Sequence[str] = ()
) -> dict[str, NDArray[np.int64]]:
    """Rows of the source's `val` and of each test data set, under its letter; each needs both classes.

    For each of `missing`, a test set is there once more: `W-DI` is W without depth and infrared.
    """
    sets = {"val": val} | {str(d): test[faces.dataset[test] == d] for d in np.unique(faces.dataset[test])}
    for name, rows in sets.items():
        live = faces.bonafide[rows]
        if live.all() or not live.any():
            kind = "attack" if live.all() else "bona fide"
            raise BadInput(f"the index's split for {name} has no {kind} sample; both classes are needed to evaluate")
    return sets | {f"{name}-{lost}": rows for lost in missing for name, rows in sets.items() if name != "val"}


def missing_in(name: str) -> str:
    """The modalities that the evaluation set `name` goes without: `DI` of `W-DI`, the empty text of `W`."""
    return name.partition("-")[2]


class Progress:
    """An epoch's line with an estimate of the time that remains; the same plain text on a terminal or in a log."""

    def __init__(self, title: str, epochs: int, epochs_before: int) -> None:
        self.title, self.epochs, self.first = title, epochs, epochs_before
        self.started = time.monotonic()

    def epoch(self, epoch: int, text: str) -> None:
        elapsed = time.monotonic() - self.started
        left = elapsed / (epoch + 1 - self.first) * (self.epochs - epoch - 1)
        print(
            f"{self.title} · epoch {epoch + 1}/{self.epochs} · {text} · {elapsed:.0f} s · about {left:.0f} s left",
            flush=True,
        )
