"""`python -m reference.phantom_controls`: does no trivial cue solve the stand-in data?

The stand-in must be hard where it should be, learnable where physics says so, and free of shortcuts:

(a) trivial cues (mean and spread of each modality, file size) learned on C-train must fail on S, W, H and P;
(b) shuffled labels must give chance; (c) every attack family must be separable from bona fide within its set by
the modality that physics says shows it; (d) the container (file size, shapes) must not tell the classes apart.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_manifests.decode import locate
from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import Index, load_index, parse_reference
from data_manifests.phantom.sets import VERSION
from reference.faces import Faces, open_faces
from reference.metrics import auc, eer

SOURCE, TARGETS = "C", ("S", "W", "H", "P")
SIZE = 64
TRIVIAL_FLOOR = 0.25
SEPARABLE = 0.90

# The modality that shows each family: where its material or its geometry differs from a live face.
SHOWN_BY = {
    "print": "depth",  # a sheet has no relief
    "print_cut": "depth",  # sheet and steps at the openings
    "replay": "ir",  # a panel does not reflect the lamp
    "papermask": "ir",  # paper is brighter than skin, facets
    "rigidmask": "ir",  # resin and plaster: no sub-surface light, dark openings at the eyes
    "3dmask": "ir",
    "flexiblemask": "ir",  # silicone: no pores, dark openings at the eyes
    "silicone": "ir",
    "fakehead": "ir",
    "glasses": "ir",  # paper or plastic over the eyes
    "transparentmask": "ir",  # the lamp's glints
    "halfmask": "ir",
    "makeup": "rgb",  # pigment on an unchanged face
    "tattoo": "rgb",
    "wig": "ir",  # synthetic fibre reflects the lamp
}

Floats = np.ndarray


def file_sizes(index: Index) -> Floats:
    """Bytes (N, 3) of the file behind each modality of each frame, as log; 0 where a modality is missing."""
    sizes = np.zeros((len(index.rows), 3))
    for i, row in enumerate(index.rows):
        for m, text in enumerate((row.rgb, row.depth, row.ir)):
            if text:
                path = locate(index.roots[row.dataset], parse_reference(text).path)
                sizes[i, m] = np.log(path.stat().st_size)
    return sizes


def trivial_cues(images: np.ndarray) -> Floats:
    """Mean and spread of colour, depth and infrared, (N, 6), of planes uint8 (N, 5, S, S)."""
    planes = np.asarray(images, np.float32)
    groups = (planes[:, :3], planes[:, 3:4], planes[:, 4:5])
    return np.stack([f(g, axis=(1, 2, 3)) for g in groups for f in (np.mean, np.std)], axis=1).astype(np.float64)


def _probe(strength: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))


def transfer(cues: Floats, bonafide: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Equal error rate on `test` of a logistic regression on `cues` (N, F) fitted on `train` (both (N,) bool)."""
    model = _probe(1.0).fit(cues[train], bonafide[train])
    return eer(model.decision_function(cues[test]), bonafide[test])[0]


def held_out_auc(cues: Floats, bonafide: np.ndarray, subject: np.ndarray, strength: float = 0.2) -> float:
    """AUC of out-of-fold scores: logistic regression on `cues` (N, F), five folds with disjoint subjects."""
    scores = np.zeros(len(bonafide))
    for train, test in GroupKFold(5).split(cues, bonafide, subject):
        scores[test] = _probe(strength).fit(cues[train], bonafide[train]).decision_function(cues[test])
    return auc(scores, bonafide)


def texture(planes: np.ndarray) -> Floats:
    """Coarse appearance, relief and grain of one modality, (N, F), of planes uint8 (N, C, S, S).

    12 × 12 means of each plane as they are and divided by the picture's own level, ranks of the grey levels in the
    middle, and 8 × 8 means of the local contrast at three scales.
    """
    out = []
    for picture in np.asarray(planes, np.float32):
        parts = []
        for plane in picture:
            coarse = _pool(plane, 12)
            inside = plane[plane > 0]
            level = float(np.median(inside)) if inside.size else 1.0
            middle = plane[plane.shape[0] // 5 : -plane.shape[0] // 5, plane.shape[1] // 4 : -plane.shape[1] // 4]
            ranks = np.quantile(middle, (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998))
            parts += [ranks / 64.0, np.log((ranks + 4.0) / (ranks[3] + 4.0))]
            parts += [coarse.ravel() / 64.0, coarse.ravel() / max(level, 1.0)]
            for sigma in (0.7, 1.5, 3.0):
                band = np.abs(plane - ndimage.gaussian_filter(plane, sigma))
                parts.append(np.log1p(_pool(band, 8)).ravel())
                parts.append(np.log((_pool(band, 8) + 0.5) / (level + 8.0)).ravel())
        out.append(np.concatenate(parts))
    return np.asarray(out, np.float64)


def _pool(plane: np.ndarray, cells: int) -> np.ndarray:
    edges = np.linspace(0, plane.shape[0], cells + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(plane, edges, 0), edges, 1)
    return np.asarray(sums / (plane.shape[0] / cells) ** 2, np.float32)


_PLANES = {"rgb": slice(0, 3), "depth": slice(3, 4), "ir": slice(4, 5)}


@dataclass(frozen=True)
class Result:
    """One line of the controls' table. `passed` is None where the number is only reported."""

    control: str
    what: str
    value: float
    bound: str
    passed: bool | None


def trivial_control(cues: Floats, faces: Faces, train: np.ndarray) -> list[Result]:
    """(a): trivial cues fitted on `train` rows of C, equal error rate on each target."""
    out = []
    for target in TARGETS:
        test = faces.dataset == target
        if test.any():
            value = transfer(cues, faces.bonafide, train, test)
            out.append(
                Result(
                    "a trivial cues", f"{SOURCE} -> {target}, EER", value, f"> {TRIVIAL_FLOOR}", value > TRIVIAL_FLOOR
                )
            )
    return out


def chance_bounds(live: int, attack: int, sigmas: float = 4.0) -> float:
    """Largest distance from 1/2 of the AUC of unrelated scores: `sigmas` of its standard deviation,
    √((n₁ + n₂ + 1) / (12 n₁ n₂)), over independent subjects."""
    return sigmas * float(np.sqrt((live + attack + 1) / (12.0 * live * attack)))


def shuffled_control(cues: Floats, faces: Faces, seed: int = 0) -> list[Result]:
    """(b): with labels drawn at random per subject-and-clip the same probe must give AUC ≈ 1/2 in every set."""
    out = []
    rng = np.random.Generator(np.random.PCG64(seed))
    for dataset in np.unique(faces.dataset):
        rows = np.flatnonzero(faces.dataset == dataset)
        subjects, group = np.unique(faces.subject[rows], return_inverse=True)
        # Whole subjects change label, so that the frames of one subject do not count as independent.
        labels = rng.permutation(np.arange(len(subjects)) % 2 == 0)
        drawn = labels[group]
        value = held_out_auc(cues[rows], drawn, faces.subject[rows], 1.0)
        bound = chance_bounds(int(labels.sum()), int((~labels).sum()))
        out.append(
            Result("b shuffled labels", f"{dataset}, AUC", value, f"0.5 ± {bound:.2f}", bool(abs(value - 0.5) < bound))
        )
    return out


def family_control(faces: Faces) -> list[Result]:
    """(c): every family against its set's bona fide by the modality that shows it, held-out subjects."""
    out = []
    for dataset in np.unique(faces.dataset):
        mine = faces.dataset == dataset
        cache = {m: np.zeros((0, 0)) for m in _PLANES}
        for family in np.unique(faces.family[mine & ~faces.bonafide]):
            modality = SHOWN_BY[str(family)]
            column = ("rgb", "depth", "ir").index(modality)
            if not cache[modality].size:
                cache[modality] = texture(faces.images[mine][:, _PLANES[modality]])
            keep = (faces.bonafide | (faces.family[:] == family))[mine] & faces.present[mine][:, column]
            value = held_out_auc(cache[modality][keep], faces.bonafide[mine][keep], faces.subject[mine][keep])
            out.append(
                Result(
                    "c family shows",
                    f"{dataset} {family} in {modality}, AUC",
                    value,
                    f"> {SEPARABLE}",
                    value > SEPARABLE,
                )
            )
    return out


def container_control(index: Index, faces: Faces, sizes: Floats) -> list[Result]:
    """(d): shapes and depth encodings are the same set of values in both classes (passed or not); how far the
    compressed file size alone tells the classes apart is reported (content, not container, moves it)."""
    out = []
    for dataset in np.unique(faces.dataset):
        rows = [r for r in index.rows if r.dataset == dataset]
        seen: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
        for r in rows:
            for m in ("rgb", "depth", "ir"):
                if shape := getattr(r, f"{m}_shape"):
                    seen[r.bonafide].add((m, shape))
        same = seen[True] == seen[False]
        out.append(Result("d container", f"{dataset}, shapes equal in both classes", float(same), "1", same))
        mine = faces.dataset == dataset
        value = held_out_auc(sizes[mine], faces.bonafide[mine], faces.subject[mine], 1.0)
        out.append(Result("d container", f"{dataset}, file size alone, AUC", value, "reported", None))
    return out


def run_controls(index: Index, faces: Faces, train: np.ndarray) -> list[Result]:
    """All controls on an index and its decoded faces; `train` marks the rows of C that the probe learns from."""
    sizes = file_sizes(index)
    cues = np.concatenate((trivial_cues(faces.images), sizes), axis=1)
    out = trivial_control(cues, faces, train)
    out += shuffled_control(cues, faces)
    out += family_control(faces)
    out += container_control(index, faces, sizes)
    return out


def controls(
    index: Path = Path(f"build/index/phantom-{VERSION}-cpu/index.csv"), cache: Path = Path("build/cache")
) -> None:
    """Check the stand-in behind an index; exit status 1 when a control fails.

    Args:
        index: index.csv of the rendered stand-in (`make phantom` makes the default one).
        cache: folder of decoded pixels.
    """
    loaded = load_index(index)
    if "mmfas" not in loaded.protocols:
        raise BadInput(f"{index}: has no protocol mmfas to learn from; build the index again with set C")
    faces = open_faces(loaded, SIZE, cache)
    train = np.zeros(len(loaded.rows), bool)
    train[loaded.split("mmfas", "train")] = True
    results = run_controls(loaded, faces, train)
    for r in results:
        mark = {True: "pass", False: "FAIL", None: "    "}[r.passed]
        print(f"{mark}  {r.control:18} {r.what:44} {r.value:6.3f}  {r.bound}")
    failed = [r for r in results if r.passed is False]
    print(json.dumps({"controls": len(results), "failed": len(failed), "index_sha256": loaded.sha256}))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    with cli_errors():
        tyro.cli(controls, prog="python -m reference.phantom_controls")
