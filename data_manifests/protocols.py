"""Who is trained and tested on: mmFAS's protocol, and the checks every protocol must pass.

mmFAS trains on CASIA-SURF CeFA with "image pairs" train : val : test = 6 : 1 : 13 and tests on the rest of it
and on the whole of CASIA-SURF, WMCA and HQ-WMCA. Which subjects are where is not published, and no official
split of CeFA has that ratio, so the split is drawn here: by subject, from a seed that is part of the
protocol.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from data_manifests.errors import BadInput
from data_manifests.index import LABELS, Row

SOURCE, TARGETS = "C", ("S", "W", "H")
MMFAS_SEED = 2025
MMFAS_RATIO = (6, 1, 13)  # train : val : test, in images
_SPLITS = ("train", "val", "test")

Splits = dict[str, list[str]]


def draw_by_subject(rows: Iterable[Row], ratio: Sequence[int] = MMFAS_RATIO, seed: int = MMFAS_SEED) -> Splits:
    """Share whole subjects out to train, val and test so that their images come as near to `ratio` as they
    can.

    Subjects stand in the order of the SHA-256 of `seed:subject_id`, ethnicity by ethnicity and mask kind by
    mask kind, so the result depends neither on the order of the rows nor on a library's random numbers. First
    each split receives a bona fide and an attack; then each subject goes to the split that is furthest behind
    its share of all images given out so far. No split ends more than one subject's images above its share, or
    two below, when every subject has both classes. Raises `BadInput` when there are too few subjects of a
    class.
    """
    samples: dict[str, list[str]] = {}
    classes: dict[str, set[str]] = {}
    for row in rows:
        samples.setdefault(row.subject_id, []).append(row.sample_id)
        classes.setdefault(row.subject_id, set()).add(row.label)

    def drawn(subject: str) -> str:
        return hashlib.sha256(f"{seed}:{subject}".encode()).hexdigest()

    waiting = sorted(samples, key=lambda subject: (_stratum(subject), drawn(subject)))
    given: dict[str, list[str]] = {split: [] for split in _SPLITS}
    for split in _SPLITS:
        for label in LABELS:
            if any(label in classes[subject] for subject in given[split]):
                continue
            able = [subject for subject in waiting if label in classes[subject]]
            if not able:
                raise BadInput(f"set {SOURCE}: too few subjects with {label} images for three splits; add subjects")
            first = min(able, key=lambda subject: (len(classes[subject]) == 1, drawn(subject)))
            given[split].append(first)
            waiting.remove(first)
    share = dict(zip(_SPLITS, ratio, strict=True))
    count = {split: sum(len(samples[subject]) for subject in given[split]) for split in _SPLITS}
    for subject in waiting:
        total = sum(count.values()) + len(samples[subject])
        behind = max(_SPLITS, key=lambda split: share[split] * total - sum(ratio) * count[split])
        given[behind].append(subject)
        count[behind] += len(samples[subject])
    return {split: sorted(s for subject in given[split] for s in samples[subject]) for split in _SPLITS}


def _stratum(subject: str) -> str:
    """`C:AF-012` → `C:AF`, `C:3D-Mask-012` → `C:3D-Mask`: the ethnicity or the kind of mask."""
    return subject.rpartition("-")[0]


def mmfas(rows: Sequence[Row], ratio: Sequence[int] = MMFAS_RATIO, seed: int = MMFAS_SEED) -> tuple[Splits, list[str]]:
    """The protocol `mmfas` and notes on what it leaves out.

    `test` is the rest of CeFA and all rows of CASIA-SURF, WMCA and HQ-WMCA, as far as they are indexed.
    Raises `BadInput` without CeFA or with too few subjects.
    """
    source = [row for row in rows if row.dataset == SOURCE]
    if not source:
        raise BadInput("protocol mmfas: CASIA-SURF CeFA (C) is not indexed but is its training set; add C to the roots")
    splits = draw_by_subject(source, ratio, seed)
    notes = []
    for target in TARGETS:
        tested = [row.sample_id for row in rows if row.dataset == target]
        splits["test"] += tested
        if not tested:
            notes.append(f"mmfas: target {target} is not indexed, so its test is left out")
    return splits, notes


def check_subjects(name: str, splits: Mapping[str, Sequence[str]], rows: Mapping[str, Row]) -> None:
    """Raise `BadInput` when a subject is in two splits. `rows` is sample_id → row."""
    where: dict[str, str] = {}
    for split, samples in splits.items():
        for sample in samples:
            subject = rows[sample].subject_id
            if where.setdefault(subject, split) != split:
                raise BadInput(
                    f"protocol {name}: subject {subject} is in {where[subject]} and {split}; correct its list"
                )


def one_class(splits: Mapping[str, Sequence[str]], rows: Mapping[str, Row]) -> str:
    """What is wrong when train or val does not hold both classes, else the empty text. `rows` is sample_id → row.

    A split the protocol does not have is not asked for: some have a test only.
    """
    for split in ("train", "val"):
        labels = {rows[sample].label for sample in splits.get(split, ())}
        for label in LABELS:
            if split in splits and label not in labels:
                return f"{split} holds no {label} frame"
    return ""
