"""A finished run of this project as one more file of scores: its validation set is the development split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from paper_tables.evaluation.columns import Encoder, File, Hasher, Words
from paper_tables.numbers.cells import Scores, read_run

DEVELOPMENT, TEST = "development", "test"


def is_run(path: Path) -> bool:
    return path.is_dir() and (path / "args.json").exists()


def read_run_folder(folder: Path) -> File:
    """Every evaluated epoch of every set, by the headline head. Raises BadInput."""
    targets = sorted(path.stem for path in (folder / "scores").glob("*.npz") if path.stem != "val")
    if not targets:
        raise BadInput(f"{folder / 'scores'}: holds no test set; name a run that has scored one")
    run = read_run(folder, targets)
    parts = [("val", DEVELOPMENT, run.epochs), *((name, TEST, run.tested) for name in targets)]
    said = {"method": str(run.arguments.get("method", folder.name)), "seed": str(run.arguments.get("seed", 0))}
    scores, hasher, places = [], Hasher(), []
    names = ("bonafide", "family", "subject", "set", "split", "epoch")
    encoders = {name: Encoder() for name in names}
    for name, split, epochs in parts:
        samples = run.sets[name]
        for epoch, of_epoch in zip(epochs.tolist(), samples.scores, strict=True):
            n = of_epoch.size
            scores.append(of_epoch)
            places.append((name, n))
            hasher.add(_texts(samples.sample_id))
            encoders["bonafide"].add(_texts(samples.bonafide.astype(np.int8)))
            encoders["family"].add(_families(samples))
            encoders["subject"].add(_texts(samples.subject))
            # Epochs are counted from 1, as everywhere that people read them.
            for column, word in (("set", name), ("split", split), ("epoch", str(epoch + 1))):
                encoders[column].add([word] * n)
    size = sum(n for _, n in places)
    words = {name: encoder.words() for name, encoder in encoders.items()}
    words |= {name: Words(np.zeros(size, np.int32), (word,)) for name, word in said.items()}

    def place(i: int) -> str:
        for name, n in places:
            if i < n:
                return f"sample {i} of scores/{name}.npz"
            i -= n
        raise IndexError(i)

    return File(folder, np.concatenate(scores), words, hasher.ids(), place, grows=True, threshold=run.fixed_threshold)


def _texts(values: NDArray[np.generic]) -> list[str]:
    return list(map(str, values.tolist()))


def _families(samples: Scores) -> list[str]:
    return _texts(np.where(samples.bonafide, "", samples.family))
