"""Protocols: mmFAS's own, those of the data sets' owners that follow from rules, and the checks on every protocol.

mmFAS trains on CASIA-SURF CeFA with "image pairs" train : val : test = 6 : 1 : 13 and tests on the rest of it and on
the whole of CASIA-SURF, WMCA and HQ-WMCA. The paper does not publish which subjects are where, and no official split
of CeFA has that ratio, so this module draws the split by subject, from a seed that is part of the protocol. Other
readings of the sentence are protocols of their own, see `mmfas_reading`.

The adapters read the protocols that owners publish as list files (WMCA, HQ-WMCA, PADISI). `derive` makes those that
follow from rules, and only on demand, since together they would be many times larger than the index itself.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from data_manifests.errors import BadInput
from data_manifests.index import LABELS, Row

SOURCE, TARGETS = "C", ("S", "W", "H")
MMFAS_SEED = 2025
MMFAS_RATIO = (6, 1, 13)  # train : val : test, in images
OFFICIAL = {"C": "C-id-ranges", "S": "S-folders", "W": "W-grandtest", "P": "P-3folds_part0"}
_SPLITS = ("train", "val", "test")

Splits = dict[str, list[str]]


def draw_by_subject(
    rows: Iterable[Row], ratio: Sequence[int] = MMFAS_RATIO, seed: int = MMFAS_SEED, count_subjects: bool = False
) -> Splits:
    """Share whole subjects out to train, val and test so that their images, or with `count_subjects` their number,
    come as near to `ratio` as they can.

    Subjects stand in the order of the SHA-256 of `seed:subject_id`, ethnicity by ethnicity and mask kind by mask
    kind, so the result depends neither on the order of the rows nor on a library's random numbers. First each split
    receives a bona fide and an attack. Then each subject goes to the split that is furthest behind its share of all
    images shared out so far. When every subject has both classes, no split ends more than one subject's images above
    its share, or two below. Raises `BadInput` when a class has too few subjects.
    """
    samples: dict[str, list[str]] = {}
    classes: dict[str, set[str]] = {}
    for row in rows:
        samples.setdefault(row.subject_id, []).append(row.sample_id)
        classes.setdefault(row.subject_id, set()).add(row.label)

    def rank(subject: str) -> str:
        return hashlib.sha256(f"{seed}:{subject}".encode()).hexdigest()

    waiting = sorted(samples, key=lambda subject: (_stratum(subject), rank(subject)))
    members: dict[str, list[str]] = {split: [] for split in _SPLITS}
    for split in _SPLITS:
        for label in LABELS:
            if any(label in classes[subject] for subject in members[split]):
                continue
            candidates = [subject for subject in waiting if label in classes[subject]]
            if not candidates:
                raise BadInput(f"set {SOURCE}: too few subjects with {label} images for three splits; add subjects")
            first = min(candidates, key=lambda subject: (len(classes[subject]) == 1, rank(subject)))
            members[split].append(first)
            waiting.remove(first)
    share = dict(zip(_SPLITS, ratio, strict=True))
    size = {subject: 1 if count_subjects else len(own) for subject, own in samples.items()}
    count = {split: sum(size[subject] for subject in members[split]) for split in _SPLITS}
    for subject in waiting:
        total = sum(count.values()) + size[subject]
        behind = max(_SPLITS, key=lambda split: share[split] * total - sum(ratio) * count[split])
        members[behind].append(subject)
        count[behind] += size[subject]
    return {split: sorted(s for subject in members[split] for s in samples[subject]) for split in _SPLITS}


def _stratum(subject: str) -> str:
    """The ethnicity or the kind of mask: `C:AF-012` → `C:AF`, `C:3D-Mask-012` → `C:3D-Mask`."""
    return subject.rpartition("-")[0]


def mmfas(rows: Sequence[Row], ratio: Sequence[int] = MMFAS_RATIO, seed: int = MMFAS_SEED) -> tuple[Splits, list[str]]:
    """The protocol `mmfas`, and notes on what it leaves out.

    `test` is the rest of CeFA and all indexed rows of CASIA-SURF, WMCA and HQ-WMCA.
    Raises `BadInput` without CeFA or with too few subjects.
    """
    splits = draw_by_subject(_source(rows), ratio, seed)
    return _with_targets(splits, rows)


def _source(rows: Sequence[Row]) -> list[Row]:
    source = [row for row in rows if row.dataset == SOURCE]
    if not source:
        raise BadInput("protocol mmfas: CASIA-SURF CeFA (C) is not indexed but is its training set; add C to the roots")
    return source


def _with_targets(source: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> tuple[Splits, list[str]]:
    splits = {split: list(source[split]) for split in _SPLITS}
    notes = []
    for target in TARGETS:
        tested = [row.sample_id for row in rows if row.dataset == target]
        splits["test"] += tested
        if not tested:
            notes.append(f"mmfas: target {target} is not indexed, so its test is left out")
    return splits, notes


def draw_by_image(rows: Iterable[Row], ratio: Sequence[int] = MMFAS_RATIO, seed: int = MMFAS_SEED) -> Splits:
    """Share single images out in `ratio`, whoever they show, in the order of the SHA-256 of `seed:sample_id`."""
    samples = sorted((row.sample_id for row in rows), key=lambda s: hashlib.sha256(f"{seed}:{s}".encode()).hexdigest())
    train, val = (round(len(samples) * sum(ratio[:n]) / sum(ratio)) for n in (1, 2))
    return {"train": sorted(samples[:train]), "val": sorted(samples[train:val]), "test": sorted(samples[val:])}


def mmfas_reading(
    name: str,
    rows: Sequence[Row],
    protocols: Mapping[str, Mapping[str, Sequence[str]]],
    seed: int = MMFAS_SEED,
) -> tuple[Splits, list[str]]:
    """One reading of mmFAS's sentence on its split of CeFA, and notes. The targets' tests are those of `mmfas`.

    - `mmfas`: whole subjects, 6 : 1 : 13 in images
    - `mmfas-subjects`: whole subjects, 6 : 1 : 13 in subjects
    - `mmfas-images`: single images, 6 : 1 : 13, so that a subject is in several splits
    - `mmfas-<protocol of CeFA>`: that protocol's train, val and test, such as `mmfas-C-p4.1`
    """
    reading = name.removeprefix("mmfas").removeprefix("-")
    source = _source(rows)
    if reading in ("", "subjects"):
        return _with_targets(draw_by_subject(source, seed=seed, count_subjects=reading == "subjects"), rows)
    if reading == "images":
        splits, notes = _with_targets(draw_by_image(source, seed=seed), rows)
        return splits, [*notes, "mmfas-images: subjects are in several splits, as this reading has it"]
    official_splits, notes = derive(reading, rows, protocols)
    if set(official_splits) != set(_SPLITS):
        raise BadInput(f"protocol {name}: {reading} has not all of train, val and test; restore the missing part of C")
    splits, more = _with_targets(official_splits, rows)
    return splits, notes + more


def official(rows: Sequence[Row], protocols: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[Splits, list[str]]:
    """The protocol `official`, and notes on what it leaves out.

    Its train, val and test are each the union, over CeFA, CASIA-SURF, WMCA and PADISI-Face, of that split in the
    set's own protocol named in `OFFICIAL`. It serves leave-one-set-out training for users without MMDG's lists.
    `protocols` must have passed their checks. The result is empty, without a note, when fewer than two of the four
    sets are indexed; a set without its protocol is left out and noted.
    """
    indexed = {row.dataset for row in rows}
    sets = [letter for letter in OFFICIAL if letter in indexed]
    if len(sets) < 2:
        return {}, []
    notes = [f"official: {letter} is not indexed, so it is left out" for letter in OFFICIAL if letter not in indexed]
    usable = []
    for letter in sets:
        if set(protocols.get(OFFICIAL[letter], ())) == set(_SPLITS):
            usable.append(letter)
        else:
            notes.append(f"official: {letter} has no complete protocol {OFFICIAL[letter]}, so it is left out")
    if len(usable) < 2:
        return {}, [*notes, "official: left out, since it takes two sets"]
    return {split: [s for letter in usable for s in protocols[OFFICIAL[letter]][split]] for split in _SPLITS}, notes


SURF_ATTACKS = {"train": ("04", "05", "06"), "val": ("01", "02", "03"), "test": ("01", "02", "03")}
_2D, _MASKS = ("print", "replay"), ("3dmask", "silicone")
# Protocol of CeFA → (ethnicity trained on, families trained on, families tested). The number after the dot is the
# owner's: 1 AF, 3 CA, 5 EA (paper, table 4).
_RACES = {"1": "AF", "3": "CA", "5": "EA"}
CEFA: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    **{f"C-p1.{k}": (race, _2D, (*_2D, *_MASKS)) for k, race in _RACES.items()},
    "C-p2.1": ("", ("print",), ("replay", *_MASKS)),
    "C-p2.2": ("", ("replay",), ("print", *_MASKS)),
    "C-p3": ("", _2D, _2D),
    **{f"C-p4.{k}": (race, ("replay",), ("print", *_MASKS)) for k, race in _RACES.items()},
    "C-p5": ("", _2D, (*_2D, *_MASKS)),
}
WMCA_UNSEEN = {
    "W-LOO_fakehead": "fakehead",
    "W-LOO_flexiblemask": "flexiblemask",
    "W-LOO_glasses": "glasses",
    "W-LOO_papermask": "papermask",
    "W-LOO_prints": "print",
    "W-LOO_replay": "replay",
    "W-LOO_rigidmask": "rigidmask",
}
DERIVED = ("mmfas", "mmfas-subjects", "mmfas-images", "official", "S-official", *CEFA, *WMCA_UNSEEN)
CROSSING = ("mmfas-images", "mmdg", "mmdg-altered")  # protocols that have subjects in two splits as published


def _named(name: str, protocols: Mapping[str, Mapping[str, Sequence[str]]], source: str) -> Mapping[str, Sequence[str]]:
    if source not in protocols:
        raise BadInput(f"protocol {name} is made from {source}, which the index does not have; index the set first")
    return protocols[source]


def surf_official(rows: Sequence[Row], protocols: Mapping[str, Mapping[str, Sequence[str]]]) -> Splits:
    """CASIA-SURF as in its challenge: attacks 4-6 in train, 1-3 in val and test.

    An attack without a published number (an anonymous triplet of the challenge's own val and test) stays.
    """
    by_id = {row.sample_id: row for row in rows}
    return {
        split: [s for s in samples if not (code := by_id[s].attack_code) or code.startswith(SURF_ATTACKS[split])]
        for split, samples in _named("S-official", protocols, "S-folders").items()
    }


def cefa(name: str, rows: Sequence[Row]) -> Splits:
    """One of CeFA's protocols 1-5 by the rule of its owner: subjects 000-199 train, 200-299 val, 300-499 test. An
    ethnicity that trains is not tested. Masks are only tested, without AttackType 1 (no light), as in the owner's
    lists. In protocol 3 the user chooses the modality, and no mask is tested, as the owner's sums of images say.
    """
    race, trained, tested = CEFA[name]
    splits: Splits = {split: [] for split in _SPLITS}
    for row in rows:
        if row.dataset != "C":
            continue
        m = re.fullmatch("C:(AF|CA|EA)-([0-9]{3})", row.subject_id)
        if m is None and row.attack_family not in _MASKS:
            raise BadInput(
                f"protocol {name}: recording {row.clip_id} does not tell its subject; index cefa-full or cefa-2026"
            )
        if m is None:
            split, same = "test", False
            if row.attack_code.endswith("_1"):
                continue
        else:
            split = "train" if m[2] < "200" else "val" if m[2] < "300" else "test"
            same = m[1] == race
        families = tested if split == "test" else trained
        fitting_race = not race or same != (split == "test")
        if fitting_race and (row.bonafide or row.attack_family in families):
            splits[split].append(row.sample_id)
    return splits


def wmca_unseen(name: str, rows: Sequence[Row], protocols: Mapping[str, Mapping[str, Sequence[str]]]) -> Splits:
    """WMCA's grandtest with one family unseen: train and val lack it, and the test holds only it and the bona fide."""
    family = {row.sample_id: row.attack_family for row in rows}
    unseen = WMCA_UNSEEN[name]
    grandtest = _named(name, protocols, "W-grandtest")
    return {
        split: [s for s in samples if (family[s] in ("", unseen) if split == "test" else family[s] != unseen)]
        for split, samples in grandtest.items()
    }


def derive(
    name: str, rows: Sequence[Row], protocols: Mapping[str, Mapping[str, Sequence[str]]], seed: int = MMFAS_SEED
) -> tuple[Splits, list[str]]:
    """The protocol `name` over an index's rows, and notes. A protocol that `protocols` has already stays as it is.

    Raises `BadInput` on an unknown name, and when the index lacks what the protocol is made from.
    """
    if name in protocols:
        return {split: list(samples) for split, samples in protocols[name].items()}, []
    if name == "official":
        union, notes = official(rows, protocols)
        if not union:
            raise BadInput("protocol official takes two of C, S, W and P with their own protocols; index another set")
        return union, notes
    if name == "mmfas" or name.startswith("mmfas-"):
        return mmfas_reading(name, rows, protocols, seed)
    if name == "S-official":
        splits, letter = surf_official(rows, protocols), "S"
    elif name in CEFA:
        splits, letter = cefa(name, rows), "C"
    elif name in WMCA_UNSEEN:
        splits, letter = wmca_unseen(name, rows, protocols), "W"
    else:
        known = ", ".join(dict.fromkeys([*protocols, *DERIVED, "mmdg"]))
        raise BadInput(f"no protocol {name!r}; there is {known}")
    if not any(splits.values()):
        raise BadInput(f"protocol {name}: the index holds no frame of it; index {letter} first")
    return {split: samples for split, samples in splits.items() if samples}, []


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
    """A message when train or val lacks a class, or the empty text. `rows` is sample_id → row.

    A protocol need not have these splits: some have only a test.
    """
    for split in ("train", "val"):
        labels = {rows[sample].label for sample in splits.get(split, ())}
        for label in LABELS:
            if split in splits and label not in labels:
                return f"{split} holds no {label} frame"
    return ""
