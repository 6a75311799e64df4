"""What somebody says about their score files, because no file says it and nobody may guess it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

HIGHER = ("bona-fide", "attack")
REPLICATES = 1000


@dataclass(frozen=True)
class Stated:
    """The options of the command that concern meaning. A mapping by method has the key "" for all others."""

    higher: Mapping[str, str] = field(default_factory=dict)
    bona_fide_labels: tuple[str, ...] = ()
    attack_labels: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    development_sets: Literal["own", "all"] | None = None
    epoch: str = ""
    files: Literal["methods", "parts"] | None = None
    threshold: Mapping[str, float] = field(default_factory=dict)
    same_scale: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    replicates: int = REPLICATES

    def higher_of(self, method: str) -> str:
        return self.higher.get(method, self.higher.get("", ""))

    def threshold_of(self, method: str) -> float | None:
        return self.threshold.get(method, self.threshold.get(""))
