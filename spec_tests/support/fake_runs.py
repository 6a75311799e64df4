"""Run folders written by the tests of the tables: what a finished training leaves, without training."""

import numpy as np

from data_manifests.json_files import sealed
from reference.sources import sha256

# Four bona fide, then four attacks of two families, two of each.
LIVE = [1, 1, 1, 1, 0, 0, 0, 0]
FAMILY = ["", "", "", "", "print", "print", "replay", "replay"]
SUBJECT = ["a", "a", "b", "b", "a", "a", "b", "b"]


def eight(*scores):
    """One set of eight samples, a tuple of scores an epoch."""
    return [list(s) for s in scores], LIVE, FAMILY, SUBJECT


def write_run(folder, epochs, sets, arguments=None, index_sha256="f" * 64, parameters=6, done=True, heads=None):
    """A finished run folder. sets[name] = (scores (E, N), bonafide, family, subject); heads[name] = the scores
    (E, N) of each head by its name, where the model has several."""
    (folder / "scores").mkdir(parents=True)
    for name, (scores, bonafide, family, subject) in sets.items():
        several = {}
        if heads:
            several["heads"] = np.array([*heads[name]])
            several["head_scores"] = np.stack([np.array(s, np.float32) for s in heads[name].values()], axis=1)
        np.savez_compressed(
            folder / "scores" / f"{name}.npz",
            epochs=np.array(epochs),
            scores=np.array(scores, np.float32),
            bonafide=np.array(bonafide, bool),
            family=np.array(family),
            subject=np.array(subject),
            # W and W-DI are the same samples.
            sample_id=np.array([f"{name.partition('-')[0]}/{i}" for i in range(len(bonafide))]),
            **several,
        )
    args = {"arguments": arguments or {}, "index_sha256": index_sha256, "git_commit": "c" * 40}
    (folder / "args.json").write_bytes(sealed(args))
    env = {"device": "cpu", "cpu": "a CPU", "threads": 1, "torch": "2.11", "kernels": "fastest"}
    (folder / "env.json").write_bytes(sealed(env))
    if done:
        finish(folder, parameters)


def finish(folder, parameters=6):
    """Write `done`, for the scores as they are."""
    scores = {path.name: sha256(path) for path in (folder / "scores").iterdir()}
    (folder / "done").write_bytes(sealed({"finished": "now", "parameters": parameters, "scores": scores}))


def fill(table, jobs, samples=24, epochs=(0, 1, 2)):
    """Write a finished run for each of a table's `jobs`, scores drawn by the run's name; MMDA's runs have heads."""
    sets = {part.name: part.sets for part in table.parts}
    live = np.arange(samples) % 2 == 0
    family = np.where(live, "", np.where(np.arange(samples) % 4 == 1, "print", "replay"))
    for job in jobs:
        rng = np.random.default_rng([*job.title.encode()])
        words = list(job.command)
        heads = ["cls"]
        if job.row.program == "reference.mmda":
            layers = int(words[words.index("--layers") + 1]) if "--layers" in words else 7
            heads += [f"align{i}" for i in range(2 * layers + 1)]
        scores, by_head = {}, {}
        for name in ("val", *sets[job.part]):
            level = np.where(live, 1.0, -1.0) * rng.uniform(0.2, 1.2)
            of_heads = (level + rng.normal(size=(len(epochs), len(heads), samples))).astype(np.float32)
            subject = np.array([f"{name[0]}:{i // 4}" for i in range(samples)])
            scores[name] = of_heads[:, 0], live, family, subject
            by_head[name] = {head: of_heads[:, i] for i, head in enumerate(heads)}
        write_run(job.folder, [*epochs], scores, heads=by_head if len(heads) > 1 else None)
