"""The recordings of each stand-in set: people, attacks, names, splits, frames. Pure functions of the profile."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from data_manifests.phantom.sets import VERSION, Profile


def seed_of(*parts: object) -> int:
    """64-bit seed of a set, recording, frame or person under this `VERSION`: blake2b over the parts joined by |."""
    text = "|".join(str(p) for p in (*parts, VERSION))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(*parts: object) -> np.random.Generator:
    """The random generator of a set, recording, frame or person."""
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))


@dataclass(frozen=True)
class Recording:
    """One recording, before it is rendered (`render.Footage` holds its frames).

    `name` is its path in the set's layout, without package or modality; `species` a key of `attacks.FAMILIES`;
    `wearer` and `victim` are keys of people; `group` is the split, under the set's own name for it.
    """

    dataset: str
    name: str
    species: str
    wearer: str
    victim: str
    people: int
    group: str
    code: str
    frames: tuple[int, ...]

    @property
    def bonafide(self) -> bool:
        return self.species == "bonafide"


def _spread(count: int, top: int, first: int = 0) -> list[int]:
    """`count` different numbers, spread evenly over first … first + top − 1."""
    return [first + i * top // count for i in range(count)]


def _groups(count: int, shares: tuple[float, float]) -> list[str]:
    """train, val or test for each of `count` people; every group gets someone when there are at least three."""
    train = max(1, round(shares[0] * count))
    val = max(1, round(shares[1] * count))
    return ["train" if i < train else "val" if i < train + val else "test" for i in range(count)]


CUTS = (
    ("01_e_s.rssdk", "cut_e_still"),
    ("02_e_b.rssdk", "cut_e_bent"),
    ("03_en_s.rssdk", "cut_en_still"),
    ("04_en_b.rssdk", "cut_en_bent"),
    ("05_enm_s.rssdk", "cut_enm_still"),
    ("06_enm_b.rssdk", "cut_enm_bent"),
)


def surf(profile: Profile) -> list[Recording]:
    """S: a live recording and the six cut-outs for every subject."""
    n = profile.s_subjects
    frames = tuple(1 + 10 * k for k in _spread(profile.frames, 18, 3))
    out = []
    for i, (number, group) in enumerate(zip(_spread(n, 1000, 5), _groups(n, (0.3, 0.1)), strict=True)):
        subject = f"CLKJ_{'ABC'[i % 3]}S{number:04d}"
        folder = f"real_part/real_{group}_part/{subject}/real.rssdk"
        out.append(Recording("S", folder, "bonafide", subject, subject, i, group, "real.rssdk", frames))
        for k, (code, species) in enumerate(CUTS):
            victim = f"printed-{subject}-{k // 2}"
            folder = f"fake_part/fake_{group}_part/{subject}/{code}"
            out.append(Recording("S", folder, species, subject, victim, i, group, code, frames))
    return out


_RACES = ("AF", "CA", "EA")
_CEFA = (("1_1_1", "bonafide"), ("3_1_2", "cloth"), ("3_2_2", "cloth"), ("3_1_4", "replay"))
_LIGHTINGS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2))  # session and AttackType of the six 3-D mask recordings
_DRESSES = ((1, 1, "3dmask"), (2, 1, "3dmask_wig"), (2, 2, "3dmask_wig_glasses"))


def cefa(profile: Profile) -> list[Recording]:
    """C: live, two cloth prints and a screen for every subject of three groups; 3-D masks and silicone masks."""
    frames = tuple(1 + k for k in _spread(profile.c_frames, 75, 25))
    out = []
    each = max(1, profile.c_subjects // 3)
    for race, folder in enumerate(_RACES):
        for number in _spread(each, 500):
            group = "train" if number < 200 else "val" if number < 300 else "test"
            subject = f"{folder}-{number:03d}"
            for code, species in _CEFA:
                name = f"CeFA-Race/{folder}/{subject}/{race + 1}_{number:03d}_{code}"
                holder = subject if species == "bonafide" else f"holder-{subject}-{code}"
                out.append(Recording("C", name, species, holder, subject, race, group, code, frames))
    for i, number in enumerate(_spread(profile.c_masks, 99, 1)):
        mask = f"3D-Mask-{number:03d}"
        for dresses, glasses, species in _DRESSES:
            for k in range(profile.c_lightings):
                session, attack = _LIGHTINGS[(i + k) % len(_LIGHTINGS)]
                code = f"{dresses}_{glasses}_2_{session}_{attack}"
                name = f"CeFA-Mask/3D-Mask/{number:03d}/1_{number:03d}_{code}"
                wearer = f"wearer-{mask}-{session}"
                out.append(Recording("C", name, species, wearer, mask, i % 3, "test", f"1_{code}", frames))
    for number in range(1, 1 + max(1, min(8, profile.c_masks // 2))):
        mask = f"Silicone-Mask-{number:03d}"
        for style in (1, 2):
            for k in range(min(4, profile.c_lightings)):
                code = f"{style}_1_2_1_{1 + (number + k) % 4}"
                name = f"CeFA-Mask/Silicone-Mask/{number:03d}/2_{number:03d}_{code}"
                out.append(
                    Recording("C", name, "silicone", f"wearer-{mask}", mask, number % 3, "test", f"2_{code}", frames)
                )
    return out


def session_date(session: int) -> str:
    """The invented day of a W session, dd.mm.yy."""
    return f"{4 + 3 * session:02d}.{session:02d}.30"


# (type_pai, species, recordings of each client); only clients of eval wear paper masks.
_WMCA = (
    ("0_00", "bonafide", 1),
    ("0_0{own}", "bonafide", 1),
    ("2_0{1-7}", "fakehead", 1),
    ("2_{75-99}", "flexiblemask", 2),
    ("1_0{3-7}", "funny_glasses", 0.5),
    ("1_1{5-6}", "paper_glasses", 0.5),
    ("3_0{1-4}", "print", 1),
    ("3_1{1-4}", "print", 0.5),
    ("4_0{1-9}", "replay", 1),
    ("3_{5,10,15}", "replay", 0.5),
    ("1_1{3-4}", "transparentmask", 0.4),
    ("2_1{2-7}", "rigidmask", 0.7),
    ("2_{08-11}", "papermask", 1.2),
)


def _pai(pattern: str, rng: np.random.Generator) -> str:
    """Fill a `{a-b}` or `{a,b,c}` field of a type_pai pattern."""
    if "{" not in pattern:
        return pattern
    head, rest = pattern.split("{")
    field, tail = rest.split("}")
    if "," in field:
        return f"{head}{int(rng.choice([int(f) for f in field.split(',')])):02d}{tail}"
    low, high = field.split("-")
    return f"{head}{int(rng.integers(int(low), int(high) + 1)):0{len(low)}d}{tail}"


def wmca(profile: Profile) -> list[Recording]:
    """W: bona fide and seven attack families over three client-disjoint groups."""
    n = profile.w_clients
    clients = [(1 + i * 72 // n, ("train", "dev", "eval")[i % 3]) for i in range(n)]
    frames = tuple(12 * (k + 1) for k in range(min(profile.frames, 4)))
    out: dict[str, Recording] = {}
    for i, (client, group) in enumerate(clients):
        rng = generator("W", "plan", client)
        for pattern, species, rate in _WMCA:
            if species == "papermask" and group != "eval":
                continue
            for _ in range(int(rate + (rng.random() if rate % 1 else 0.0))):
                session = int(rng.integers(1, 8))
                # The second bona fide recording shows the client's own glasses where the client has some.
                pai = _pai(pattern.replace("{own}", "{0-1}"), rng)
                presenter = 0 if species in ("bonafide", "fakehead") or rng.random() < 0.3 else client
                face = 500 + client if species in ("fakehead", "flexiblemask") else client
                stem = f"{face:03d}_{session:02d}_{presenter:03d}_{pai}"
                name = f"face-station/{session_date(session)}/{stem}"
                victim = f"{face:03d}" if face >= 500 or species in ("bonafide",) else f"imitated-{client:03d}-{pai}"
                wearer = f"{client:03d}"
                people = i % 3
                if species in ("print", "replay"):
                    wearer, victim = f"holder-{stem}", f"{client:03d}"
                out[name] = Recording("W", name, species, wearer, victim, people, group, pai, frames)
    return list(out.values())


# (type, subtype, pai, species, recordings of each client)
_HQ = (
    ("00", "00", "000", "bonafide", 2),
    ("01", "01", "001", "funny_glasses", 0.35),
    ("01", "02", "002", "paper_glasses", 0.35),
    ("02", "01", "010", "fakehead", 0.6),
    ("03", "01", "020", "print", 0.7),
    ("04", "01", "030", "replay", 0.6),
    ("05", "01", "040", "rigidmask", 0.4),
    ("05", "02", "041", "transparentmask", 0.4),
    ("06", "01", "050", "flexiblemask", 0.7),
    ("07", "01", "060", "papermask", 0.6),
    ("08", "01", "070", "wig", 0.3),
    ("09", "01", "080", "tattoo", 0.8),
    ("10", "01", "090", "makeup", 0.7),
)
HQ_TYPES = (
    "Bonafide",
    "Glasses",
    "Mannequin",
    "Print",
    "Replay",
    "Rigidmask",
    "Flexiblemask",
    "Papermask",
    "Wig",
    "Tattoo",
    "Makeup",
)


def hqwmca(profile: Profile) -> list[Recording]:
    """H: bona fide and ten attack families over three client-disjoint groups."""
    n = profile.h_clients
    frames = tuple(range(profile.frames))
    out = []
    for i, client in enumerate(_spread(n, 51, 1)):
        group = ("train", "dev", "eval")[i % 3]
        rng = generator("H", "plan", client)
        for kind, subtype, pai, species, rate in _HQ:
            for k in range(int(rate + (rng.random() if rate % 1 else 0.0))):
                session = k % 3 + 1
                own = species in ("bonafide", "wig", "tattoo", "makeup", "funny_glasses", "paper_glasses")
                presenter = 0 if species in ("bonafide", "fakehead") else client
                stem = f"1_{session:02d}_{client:04d}_{presenter:04d}_{kind}_{subtype}_{pai}"
                stem += f"-{seed_of('H', 'hash', stem) % 16**8:08x}"
                person = f"{client:04d}"
                victim = person if own else f"imitated-{person}-{pai}"
                wearer = person
                if species in ("print", "replay"):
                    wearer, victim = f"holder-{stem}", person
                out.append(
                    Recording("H", stem, species, wearer, victim, i % 3, group, f"{kind}_{subtype}_{pai}", frames)
                )
    return out


# (code stem, species, share of the attacks, number of PAI species)
_PADISI = (
    ("501", "funny_glasses", 0.12, 12),
    ("502", "print", 0.07, 2),
    ("503", "fakehead", 0.08, 6),
    ("504", "halfmask", 0.10, 1),
    ("505", "transparentmask", 0.17, 7),
    ("506", "makeup", 0.16, 4),
    ("507", "flexiblemask", 0.09, 1),
    ("508", "paper_glasses", 0.07, 2),
    ("509", "tattoo", 0.14, 1),
)
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _token(*parts: object, length: int = 8) -> str:
    value, text = seed_of(*parts), ""
    for _ in range(length):
        value, digit = divmod(value, 36)
        text += _LETTERS[digit]
    return text


def padisi(profile: Profile) -> list[Recording]:
    """P: single samples, bona fide and nine attack families, split by participant."""
    out = []
    odds = np.array([share for _, _, share, _ in _PADISI])
    for i in range(profile.p_people):
        rng = generator("P", "plan", i)
        part = ("train", "test", "train", "valid", "train", "test", "train", "test", "train", "train")[i % 10]
        person = f"participant-{1001 + 7 * i}"
        kinds = [("m00000", "bonafide")] * 2
        for k in rng.choice(len(_PADISI), 2, p=odds / odds.sum()):
            stem, species, _, count = _PADISI[int(k)]
            kinds.append((f"m{stem}{int(rng.integers(1, count + 1)):02d}", species))
        for k, (code, species) in enumerate(kinds):
            mood = ("NEUTRAL", "SMILE", "FROWN")[int(rng.integers(3))]
            worn = "WITH" if rng.random() < 0.3 else "WITHOUT"
            transaction, trial = 10_000 + 13 * i + k // 2, _token("P", "trial", i, k)
            name = f"ID_{transaction}_{trial}_FACE_{mood}_{worn}_GLASS"
            own = species in ("bonafide", "makeup", "tattoo", "funny_glasses", "paper_glasses")
            victim = person if own else f"imitated-{person}-{k}"
            wearer = person if species != "print" else f"holder-{person}"
            out.append(
                Recording("P", name, species, wearer, victim if species != "print" else person, i % 5, part, code, (0,))
            )
    return out


PLANS = {"C": cefa, "S": surf, "W": wmca, "H": hqwmca, "P": padisi}


def plan(dataset: str, profile: Profile) -> list[Recording]:
    """All recordings of a set under a profile, in a fixed order."""
    return PLANS[dataset](profile)
