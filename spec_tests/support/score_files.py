"""Score files for the tests of the evaluation: drawn samples, and writers of each kind of file."""

import csv

import numpy as np

COLUMNS = ("sample_id", "score", "label", "family", "subject", "set", "split", "method")


def rows(methods=("ours",), sets=("A",), splits=("dev", "test"), subjects=20, frames=6, gap=2.0, seed=0):
    """Samples as dictionaries: half of the subjects bona fide, attacks of two families; scores grow with liveness."""
    found = []
    for name in sets:
        for split in splits:
            generator = np.random.default_rng([seed, *name.encode(), *split.encode()])
            ease = generator.normal(size=(subjects, frames))
            for m, method in enumerate(methods):
                noise = generator.normal(size=(subjects, frames)) * 0.5
                for s in range(subjects):
                    live = s % 2 == 0
                    for f in range(frames):
                        score = ease[s, f] + noise[s, f] + (gap - 0.5 * m if live else 0.0)
                        found.append(
                            {
                                "sample_id": f"{name}/{split}/{s}/{f}",
                                "score": round(float(score), 4),
                                "label": "live" if live else "spoof",
                                "family": "" if live else ("print", "replay")[s // 2 % 2],
                                "subject": f"{name}-{split}-{s}",
                                "set": name,
                                "split": split,
                                "method": method,
                            }
                        )
    return found


def write_csv(path, samples, columns=None):
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, columns or list(samples[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(samples)
    return path


def arrays(samples, columns=None):
    return {name: np.array([sample[name] for sample in samples]) for name in columns or samples[0]}


def write_npz(path, samples, columns=None):
    np.savez(path, **arrays(samples, columns))
    return path


STATED = ["--bona-fide-label", "live", "--higher", "bona-fide", "--development", "dev"]
