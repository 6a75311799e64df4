"""A run is a folder that proves itself: what was asked for, where it ran, what came out, and how to go on.

`Run(folder, …)` starts a new folder, continues an unfinished one bit for bit, or refuses one that was begun with other
options, another index or another source text. Its files:

  args.json          every option, the seed, the hashes of the index, the images and the source files, the commit
  env.json           python, torch, CUDA, device, CPU, threads, attention backend
  metrics.jsonl      a line an epoch
  scores/<set>.npz   scores (epochs, N) of every sample, with what is needed to evaluate them again
  checkpoint.pt      weights, optimiser, position, every random state
  model.safetensors  the last weights
  done               written last

Order matters: an epoch's scores and metrics line are written first, its checkpoint after them, so whatever
a killed run had written beyond its last checkpoint is cut off again when it is continued. Reading what a run says needs
no torch.
"""

import fcntl
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput, replacing
from reference.sources import git_commit

HEADLINE = "cls"  # of a method's heads the one whose scores count, fixed before anything is seen


class Run:
    """One run folder, locked against a second process while this one lives."""

    def __init__(
        self,
        folder: Path,
        arguments: dict[str, Any],
        index_sha256: str,
        sources: dict[str, str],
        env: dict[str, Any],
    ) -> None:
        """Start or continue `folder`. `sources` are the digests of the files that decide the run, by path.

        Raises BadInput when the folder belongs to another run or is in use.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._begin(arguments, index_sha256, sources, env)
            self.lines = self._read_lines()
        except BaseException:
            self.close()
            raise

    def _begin(
        self, arguments: dict[str, Any], index_sha256: str, sources: dict[str, str], env: dict[str, Any]
    ) -> None:
        here = {
            "arguments": arguments,
            "seed": arguments["seed"],
            "index_sha256": index_sha256,
            "sources": sources,
            "git_commit": git_commit(),
        }
        here = json.loads(json.dumps(here))
        path = self.folder / "args.json"
        if path.exists():
            self._same_run(path, here)
        else:
            own = {".lock", "env.json", ".env.json.tmp", ".args.json.tmp"}  # a start that was killed leaves these
            foreign = [p.name for p in self.folder.iterdir() if p.name not in own]
            if foreign:
                raise BadInput(
                    f"{self.folder}: holds {sorted(foreign)[0]} but no args.json, so it is not a run folder; "
                    "name an empty or new folder with --run-dir"
                )
            self._write_json("env.json", env)
            self._write_json("args.json", here)

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

    def _same_run(self, path: Path, here: dict[str, Any]) -> None:
        try:
            there = json.loads(path.read_text())
            missing = here.keys() - there.keys()
        except (ValueError, AttributeError) as e:
            raise BadInput(f"{path}: not a JSON object; delete the folder to start this run again") from e
        if missing:
            raise BadInput(f"{path}: lacks {sorted(missing)[0]}; delete the folder to start this run again")
        differing = [
            f"{key} {there['arguments'].get(key)!r} there, {value!r} here"
            for key, value in here["arguments"].items()
            if there["arguments"].get(key) != value
        ]
        differing += [f"argument {key} only there" for key in there["arguments"] if key not in here["arguments"]]
        if there["index_sha256"] != here["index_sha256"]:
            differing.append("another index")
        if there["sources"] != here["sources"]:
            changed = sorted(set(there["sources"].items()) ^ set(here["sources"].items()))
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
        heads: Mapping[str, NDArray[np.float32]],
        samples: Mapping[str, NDArray[Any]],
    ) -> None:
        """Add one epoch's scores (N,) of each head to scores/<name>.npz, beside what is known of the N `samples`.

        The file's `scores` (epochs, N) are those of the headline. A method of several heads has their names `heads`
        (H,) and `head_scores` (epochs, H, N) too.
        """
        path = self.folder / "scores" / f"{name}.npz"
        new: dict[str, Any] = {"epochs": np.array([epoch]), "scores": heads[HEADLINE][None].astype(np.float32)}
        if len(heads) > 1:
            new["head_scores"] = np.stack([*heads.values()])[None].astype(np.float32)
        if path.exists():
            with np.load(path, allow_pickle=False) as old:
                before = old["epochs"] < epoch
                new = {key: np.concatenate([old[key][before], values]) for key, values in new.items()}
        if len(heads) > 1:
            new["heads"] = np.array([*heads])
        with replacing(path) as f:
            np.savez_compressed(f, **(new | dict(samples)))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write checkpoint.pt whole or not at all. `state["epoch"]` counts the epochs already logged."""
        import torch  # takes seconds, which those who only read runs need not spend

        buffer = io.BytesIO()
        torch.save(state, buffer)
        with replacing(self.folder / "checkpoint.pt") as f:
            f.write(buffer.getbuffer())

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint or None, on the CPU; metrics.jsonl and scores are cut back to when it was written."""
        path = self.folder / "checkpoint.pt"
        state: dict[str, Any] | None = None
        if path.exists():
            import torch

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

    def finish(self, weights: Mapping[str, Any]) -> None:
        """Write model.safetensors and then the marker `done`. `weights` are tensors by name."""
        from safetensors.torch import save

        with replacing(self.folder / "model.safetensors") as f:
            f.write(save({k: v.detach().cpu().contiguous() for k, v in weights.items()}))
        with replacing(self.folder / "done") as f:
            f.write(time.strftime("%Y-%m-%dT%H:%M:%S%z\n").encode())


def finished(folder: Path, method: str) -> dict[str, Any]:
    """The arguments of a finished run of a method.

    Raises BadInput when the folder is not that.
    """
    if not (folder / "done").exists():
        raise BadInput(f"{folder}: holds no file `done`, so it is no finished run; finish it, or name another folder")
    arguments: dict[str, Any] = json.loads((folder / "args.json").read_text())["arguments"]
    if arguments["method"] != method:
        raise BadInput(f"{folder}: args.json is of method {arguments['method']}, not {method}; name a run of {method}")
    return arguments
