"""A run is a folder that proves itself: what was asked for, where it ran, what came out, and how to go on.

`Run(folder, …)` starts a new folder, continues an unfinished one bit for bit, or refuses one that was begun with other
options, another index or another source text. Its files:

  args.json          every option, the seed, the hashes of the index, the images and the source files, the commit
  env.json           python, torch, CUDA, device, CPU, threads, attention backend
  metrics.jsonl      a line an epoch
  scores/<set>.npz   scores (epochs, N) of every sample, with what is needed to evaluate them again
  model.safetensors  the last weights, where they are kept
  best.safetensors   those of the epoch that validation chooses, where they are kept
  done               when it ended, how many parameters it trained, and digests of args.json, of the scores and of the
                     last weights; written last

and while it is unfinished

  parts/<set>/<epoch>.npz  an epoch's scores, which make scores/<set>.npz at the end: what an epoch writes does not grow
  checkpoint.pt            weights, optimiser, position, every random state

Order matters: an epoch's scores and metrics line are written first, its checkpoint after them, so whatever
a killed run had written beyond its last checkpoint is cut off again when it is continued. Reading what a run says needs
no torch.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from data_manifests import locks
from data_manifests.errors import BadInput, replacing
from data_manifests.json_files import json_lines, json_object, sealed
from reference.sources import git_commit, sha256

_ARGUMENTS = {"arguments": dict, "seed": int, "index_sha256": str, "sources": dict, "git_commit": str}
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
        self.folder, self._keeps_weights = folder, arguments.get("keep_weights", True)
        self._scores_every = arguments.get("score_tests") == "every"
        self._digests: dict[str, str] = {}  # of the weights that were written, by name
        self._hashed: dict[str, str] = {}  # digests of score files by path, of those that were written or read here
        folder.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign()
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
        if os.path.lexists(path):
            self._same_run(path, here)
        else:
            self._write_json("env.json", env)
            self._write_json("args.json", here)

    def _refuse_foreign(self) -> None:
        """Before anything is written. Raises BadInput for a folder of something else than a run."""
        if os.path.lexists(self.folder / "args.json"):
            return
        own = {".lock", "env.json", ".env.json.tmp", ".args.json.tmp"}  # a start that was killed leaves these
        foreign = [p.name for p in self.folder.iterdir() if p.name not in own]
        if foreign:
            raise BadInput(
                f"{self.folder}: holds {sorted(foreign)[0]} but no args.json, so it is not a run folder; "
                "name an empty or new folder with --run-dir"
            )

    def _locked(self) -> TextIO | None:
        try:
            return locks.take(self.folder)
        except locks.Taken as holder:
            raise BadInput(f"{self.folder}: {holder} is writing this run; wait for it or stop it") from None

    def close(self) -> None:
        if self._lock:
            locks.give(self._lock)

    def _same_run(self, path: Path, here: dict[str, Any]) -> None:
        again = "delete the folder to start this run again"
        there = read_arguments(self.folder, again)
        json_object(self.folder / "env.json", again)
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
        args = read_arguments(self.folder, "delete the folder to start this run again")
        known = args.setdefault("images_sha256", images_sha256)
        if known != images_sha256:
            raise BadInput(
                f"{path}: images_sha256 there is of other images than those now on disk; restore them, or name "
                "another --run-dir"
            )
        self._write_json("args.json", args)

    def _write_json(self, name: str, value: Any) -> None:
        with replacing(self.folder / name) as f:
            f.write(sealed(value))

    def _read_lines(self) -> list[dict[str, Any]]:
        path = self.folder / "metrics.jsonl"
        if not os.path.lexists(path):
            return []
        # A killed run can leave its last line unfinished; it lies beyond the checkpoint and is cut off there.
        return json_lines(path, f"put it back from a copy, or delete {self.folder} to start this run again")

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    def log(self, line: dict[str, Any]) -> None:
        """Append one epoch to metrics.jsonl."""
        self.lines.append(line)
        self._write_lines()

    def amend(self, epoch: int, sets: Mapping[str, Any]) -> None:
        """Add what an epoch's line says of `sets` that were scored later than the epoch was logged."""
        self.lines[epoch]["sets"] |= sets
        self._write_lines()

    def _write_lines(self) -> None:
        with replacing(self.folder / "metrics.jsonl") as f:
            f.write("".join(json.dumps(line) + "\n" for line in self.lines).encode())

    def save_scores(self, name: str, epoch: int, heads: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep one epoch's scores (N,) of each head of a set until `join_scores`."""
        self._hashed.pop(f"parts/{name}/{epoch}.npz", None)
        with replacing(self._part(name, epoch)) as f:
            np.savez(f, heads=np.array([*heads]), scores=np.stack([*heads.values()]).astype(np.float32))

    def _part(self, name: str, epoch: int) -> Path:
        return self.folder / "parts" / name / f"{epoch}.npz"

    def _parts(self, name: str) -> list[tuple[int, Path]]:
        """Epochs of a set that have scores, and their files, in ascending order."""
        found = (self.folder / "parts" / name).glob("*.npz")
        return sorted((int(path.stem), path) for path in found if path.stem.isdecimal())

    def join_scores(self, name: str, samples: Mapping[str, NDArray[Any]]) -> None:
        """Write scores/<name>.npz: all epochs' scores, and what is known of the N `samples`.

        Its `scores` (epochs, N) are those of the headline. A method of several heads has their names `heads` (H,) and
        `head_scores` (epochs, H, N) too.
        """
        parts, heads = [], np.array([])
        for _, path in self._parts(name):
            with np.load(path, allow_pickle=False) as part:
                heads = part["heads"]
                parts.append(part["scores"])
        scores = np.stack(parts)  # (epochs, H, N)
        whole: dict[str, Any] = {"epochs": np.array([epoch for epoch, _ in self._parts(name)])}
        whole["scores"] = scores[:, heads.tolist().index(HEADLINE)]
        if heads.size > 1:
            whole |= {"heads": heads, "head_scores": scores}
        with replacing(self.folder / "scores" / f"{name}.npz") as f:
            np.savez_compressed(f, **(whole | dict(samples)))

    # --- going on ------------------------------------------------------------------------------------------------

    @property
    def owner(self) -> str:
        """What a checkpoint says whose it is, and `done` whose it was."""
        return identity(read_arguments(self.folder, "delete the folder to start this run again"))

    def _log_digest(self, epochs: int) -> str:
        """Of what the first epochs' lines said when they were logged: later, only test sets are added to them."""
        logged = []
        for line in self.lines[:epochs]:
            sets = line.get("sets")
            if sets and not self._scores_every:
                line = line | {"sets": {"val": sets.get("val")}}
            logged.append(line)
        return hashlib.sha256(json.dumps(logged).encode()).hexdigest()

    def _score_digests(self, epochs: int) -> dict[str, str]:
        """Of the score files of the first epochs, by path: those of validation where test sets come later."""
        pattern = "*/*.npz" if self._scores_every else "val/*.npz"
        digests = {}
        for path in sorted((self.folder / "parts").glob(pattern)):
            if path.stem.isdecimal() and int(path.stem) < epochs:
                key = path.relative_to(self.folder).as_posix()
                if key not in self._hashed:
                    self._hashed[key] = sha256(path)
                digests[key] = self._hashed[key]
        return digests

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write checkpoint.pt whole or not at all. `state["epoch"]` counts the epochs already logged."""
        from reference.proven import write_checkpoint  # torch takes seconds, which those who only read need not spend

        epochs = state["epoch"]
        proof = {"log": self._log_digest(epochs), "scores": self._score_digests(epochs)}
        write_checkpoint(self.folder / "checkpoint.pt", state | proof, self.owner)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint or None, on the CPU. Nothing is changed. Raises BadInput where it is damaged or another
        run's, or where metrics.jsonl or scores are not those that it was written after."""
        path = self.folder / "checkpoint.pt"
        if not os.path.lexists(path):
            return None
        from reference.proven import read_checkpoint

        state = read_checkpoint(path, self.owner)
        epochs = state["epoch"]
        again = f"put it back from a copy, or delete {path} to train this run from its start"
        numbers = [line.get("epoch") for line in self.lines]
        if not 0 <= epochs <= len(self.lines) or numbers != [*range(len(numbers))]:
            raise BadInput(f"{self.folder / 'metrics.jsonl'}: lacks lines of the epochs 1 to {epochs}; {again}")
        if self._log_digest(epochs) != state["log"]:
            raise BadInput(f"{self.folder / 'metrics.jsonl'}: was changed after it was written; {again}")
        found = self._score_digests(epochs)
        for name, digest in state["scores"].items():
            if found.get(name) != digest:
                how = "was changed after it was written" if name in found else "is missing"
                raise BadInput(f"{self.folder / name}: {how}; {again}")
        return state

    def cut(self, epochs: int) -> None:
        """Cut metrics.jsonl and the scores back to the first epochs: what a killed run had written beyond its last
        checkpoint."""
        if len(self.lines) > epochs:
            self.lines = self.lines[:epochs]
            self._write_lines()
        self._delete_scores(epochs)

    def _delete_scores(self, epochs: int) -> None:
        """Delete the scores of the epochs after the first `epochs`."""
        for part in (self.folder / "parts").glob("*/*.npz"):
            if not part.stem.isdecimal() or int(part.stem) >= epochs:
                part.unlink()

    def save_weights(self, name: str, weights: Mapping[str, Any]) -> None:
        """Write `weights`, tensors by name, to <name>.safetensors."""
        from reference.proven import write_weights

        self._digests[name] = write_weights(self.folder / f"{name}.safetensors", weights)

    def load_weights(self, name: str) -> dict[str, Any]:
        """What `save_weights` wrote, on the CPU. Raises BadInput for anything else."""
        from reference.proven import read_weights

        return read_weights(self.folder / f"{name}.safetensors")

    def finish(self, parameters: int) -> None:
        """Write the marker `done`, and delete what nobody needs any more."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        scores = {path.name: sha256(path) for path in sorted((self.folder / "scores").glob("*.npz"))}
        proof = {"arguments": self.owner, "scores": scores, "weights": self._digests.get("model")}
        self._write_json("done", {"finished": when, "parameters": parameters, **proof})
        self.tidy()

    def tidy(self) -> None:
        """Delete what a finished run was made from; a process that was killed as it ended may have left it."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        if not self._keeps_weights:
            for name in ("model", "best"):
                (self.folder / f"{name}.safetensors").unlink(missing_ok=True)


class Follower(Run):
    """The run folder as it is for a process that trains together with the one that writes it: it reads what it needs,
    and leaves the writing to that one."""

    def _begin(self, *_: Any) -> None:
        """The other process has compared what was asked for."""

    def _locked(self) -> None:
        """The other process has it."""

    def _left_to_the_other(self, *_: Any) -> None:
        pass

    _write_json = _left_to_the_other  # type: ignore[assignment]
    _write_lines = _left_to_the_other
    _delete_scores = _left_to_the_other  # type: ignore[assignment]
    save_scores = _left_to_the_other  # type: ignore[assignment]
    join_scores = _left_to_the_other  # type: ignore[assignment]
    save_checkpoint = _left_to_the_other  # type: ignore[assignment]
    save_weights = _left_to_the_other  # type: ignore[assignment]
    finish = _left_to_the_other  # type: ignore[assignment]
    tidy = _left_to_the_other


def finished(folder: Path, method: str) -> dict[str, Any]:
    """The arguments of a finished run of a method whose weights were kept.

    Raises BadInput when the folder is not that.
    """
    if not (folder / "done").exists():
        raise BadInput(f"{folder}: holds no file `done`, so it is no finished run; finish it, or name another folder")
    again = "put it back from a copy, or train that run again in another folder"
    args = read_arguments(folder, again)
    arguments: dict[str, Any] = args["arguments"]
    if arguments.get("method") != method:
        kind = arguments.get("method")
        raise BadInput(f"{folder}: args.json is of method {kind}, not {method}; name a run of {method}")
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise BadInput(f"{folder}: its weights were not kept; train it again, in another folder, with --keep-weights")
    from reference.proven import digest_said

    done = json_object(folder / "done", again)
    for name, known, found in (
        ("args.json", done.get("arguments"), identity(args)),
        (weights.name, done.get("weights"), digest_said(weights)),
    ):
        if known != found:
            raise BadInput(f"{folder / name}: is not the file that the finished run left; {again}")
    return arguments


def read_arguments(folder: Path, remedy: str) -> dict[str, Any]:
    """What args.json says. Raises BadInput, which ends in `remedy`, where it is not what a run writes."""
    args = json_object(folder / "args.json", remedy)
    for key, kind in _ARGUMENTS.items():
        if type(args.get(key)) is not kind:
            raise BadInput(f"{folder / 'args.json'}: lacks {key}, or has it of another kind; {remedy}")
    return args


def identity(args: Mapping[str, Any]) -> str:
    """The digest of all that decides a run; the commit is left out, whose sources count."""
    decisive = {key: value for key, value in args.items() if key != "git_commit"}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def chosen_line(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the lines of metrics.jsonl the one of the epoch that validation chooses: the least EER there, among equals
    the highest AUC, then the earliest. Raises ValueError where none was evaluated."""
    evaluated = [line for line in lines if "sets" in line]
    return min(evaluated, key=lambda line: (line["sets"]["val"]["eer"], -line["sets"]["val"]["auc"], line["epoch"]))
