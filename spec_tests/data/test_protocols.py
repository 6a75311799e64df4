"""The protocols made by rule: their sizes against the published ones, who is in which split, and the readings of
mmFAS's sentence. Rows are made here from the owners' naming rules, a frame a recording, without any file."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_manifests.__main__ import main
from data_manifests.errors import BadInput
from data_manifests.index import Row, load_index, save_index
from data_manifests.manifests import FILES, SPLITS, manifest
from data_manifests.protocols import (
    CEFA,
    CROSSING,
    DERIVED,
    MMFAS_RATIO,
    OFFICIAL,
    WMCA_UNSEEN,
    check_subjects,
    derive,
    draw_by_image,
    draw_by_subject,
    mmfas,
    official,
    one_class,
)

RACES = {"AF": 1, "CA": 2, "EA": 3}


def row(dataset: str, subject: str, recording: str, family: str = "", code: str = "", frame: int = 0) -> Row:
    return Row(
        sample_id=f"{dataset}:{recording}:{frame}", dataset=dataset, layout="x", clip_id=recording, frame=frame,
        subject_id=f"{dataset}:{subject}", presenter_id="", source_id="", label="attack" if family else "bonafide",
        attack_family=family, attack_code=code, rgb=f"{recording}/{frame}.jpg", rgb_shape="2x2:uint8", depth="",
        depth_shape="", ir="", ir_shape="", depth_encoding="", ir_nm=None,
    )  # fmt: skip


def cefa(subjects=range(500), masks=99) -> list[Row]:
    """CeFA as its paper counts it: 4 recordings a subject and ethnicity, 18 recordings a 3D mask, 8 a silicone mask."""
    rows = []
    for race, digit in RACES.items():
        for number in subjects:
            for rest, family in (("1_1_1", ""), ("3_1_2", "print"), ("3_2_2", "print"), ("3_1_4", "replay")):
                code = rest if family else ""
                rows.append(row("C", f"{race}-{number:03}", f"{digit}_{number:03}_{rest}", family, code))
    for mask in range(1, masks + 1):
        for dress in (1, 2, 3):
            for session, light in ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2)):
                code = f"{dress}_1_2_{session}_{light}"
                rows.append(row("C", f"3D-Mask-{mask:03}", f"1_{mask:03}_{code}", "3dmask", code))
    for mask in range(1, 9):
        for dress in (1, 2):
            for light in (1, 2, 3, 4):
                code = f"{dress}_1_2_1_{light}"
                rows.append(row("C", f"Silicone-Mask-{mask:03}", f"2_{mask:03}_{code}", "silicone", code))
    return rows


def surf(counts=(30, 10, 60)) -> tuple[list[Row], dict[str, dict[str, list[str]]]]:
    """CASIA-SURF as the crop has it: every cut-out in every split."""
    rows, splits, number = [], {}, 0
    for split, subjects in zip(SPLITS, counts, strict=True):
        splits[split] = []
        for _ in range(subjects):
            number += 1
            for code in ("", "01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b"):
                subject = f"CLKJ_AS{number:04}"
                rows.append(row("S", subject, f"{subject}/{code or 'real'}.rssdk", "print_cut" if code else "", code))
                splits[split].append(rows[-1].sample_id)
    return rows, {"S-folders": splits}


def wmca() -> tuple[list[Row], dict[str, dict[str, list[str]]]]:
    """WMCA's grandtest with the published number of recordings of every family in every split."""
    rows, splits, client = [], {split: [] for split in SPLITS}, 0
    for count in manifest("W").expectation("wmca-hdf5").count:
        if count.label:
            for _ in range(count.recordings):
                client += 1
                rows.append(row("W", f"{client:04}", f"{client:04}_01_000_0_00", count.family))
                splits[count.split].append(rows[-1].sample_id)
    return rows, {"W-grandtest": splits}


def padisi() -> tuple[list[Row], dict[str, dict[str, list[str]]]]:
    rows, splits = [], {}
    for split in SPLITS:
        members = [row("P", f"{split}{i}", f"{split[:2]}{i:06}", "makeup" if i % 2 else "") for i in range(6)]
        rows += members
        splits[split] = [r.sample_id for r in members]
    return rows, {"P-3folds_part0": splits}


@pytest.fixture(scope="module")
def cefa_rows():
    return cefa()


@pytest.fixture(scope="module")
def everything(cefa_rows):
    rows, protocols = list(cefa_rows), {"C-id-ranges": derive("C-p5", cefa_rows, {})[0]}
    for more, named in (surf(), wmca(), padisi()):
        rows += more
        protocols |= named
    return rows, protocols


def families(splits, rows):
    by_id = {r.sample_id: r for r in rows}
    return {split: Counter(by_id[s].attack_family for s in samples) for split, samples in splits.items()}


class TestCefa:
    def test_the_rows_are_the_paper_s(self, cefa_rows):
        assert len(cefa_rows) == 7846
        assert len({r.subject_id for r in cefa_rows}) == 1607

    @pytest.mark.parametrize("name", CEFA)
    def test_train_and_val_have_the_published_number_of_recordings(self, cefa_rows, name):
        published = next(rule for rule in manifest("C").protocol if rule.name == name).recordings
        splits, notes = derive(name, cefa_rows, {})
        assert notes == []
        for split in ("train", "val"):
            if split in published:
                assert len(splits[split]) == published[split]

    @pytest.mark.parametrize("name", ["C-p1.1", "C-p2.1", "C-p2.2", "C-p4.1"])
    def test_the_published_test_is_ours_but_for_masks_that_are_missing_there(self, cefa_rows, name):
        """The owner's lists hold 1 079 + 44 recordings of masks, the naming rules without AttackType 1 give more."""
        published = next(rule for rule in manifest("C").protocol if rule.name == name).recordings["test"]
        found = families(derive(name, cefa_rows, {})[0], cefa_rows)["test"]
        assert sum(n for family, n in found.items() if family not in ("3dmask", "silicone")) == published - 1079 - 44
        assert found["3dmask"] == 99 * 12 >= 1079
        assert found["silicone"] == 8 * 6 >= 44

    @pytest.mark.parametrize(("name", "race"), [("C-p1.1", "AF"), ("C-p1.3", "CA"), ("C-p1.5", "EA"), ("C-p4.5", "EA")])
    def test_the_ethnicity_trained_on_is_not_tested(self, cefa_rows, name, race):
        splits, _ = derive(name, cefa_rows, {})
        subject = {r.sample_id: r.subject_id for r in cefa_rows}
        races = {split: {subject[s][2:4] for s in samples} for split, samples in splits.items()}
        assert races["train"] == races["val"] == {race}
        assert races["test"] - {"3D", "Si"} == set(RACES) - {race}

    @pytest.mark.parametrize(
        ("name", "trained", "tested"),
        [
            ("C-p2.1", {"", "print"}, {"", "replay", "3dmask", "silicone"}),
            ("C-p2.2", {"", "replay"}, {"", "print", "3dmask", "silicone"}),
            ("C-p4.1", {"", "replay"}, {"", "print", "3dmask", "silicone"}),
            ("C-p1.3", {"", "print", "replay"}, {"", "print", "replay", "3dmask", "silicone"}),
            ("C-p5", {"", "print", "replay"}, {"", "print", "replay", "3dmask", "silicone"}),
        ],
    )
    def test_families(self, cefa_rows, name, trained, tested):
        counts = families(derive(name, cefa_rows, {})[0], cefa_rows)
        assert set(counts["train"]) == set(counts["val"]) == trained
        assert set(counts["test"]) == tested

    def test_masks_without_light_are_left_out(self, cefa_rows):
        codes = {r.sample_id: r.attack_code for r in cefa_rows}
        tested = derive("C-p5", cefa_rows, {})[0]["test"]
        assert not any(codes[s].endswith("_1") for s in tested if codes[s].count("_") == 4)

    def test_an_anonymous_recording_is_refused(self):
        rows = [row("C", "dev", "003000"), *cefa(range(3), 0)]
        with pytest.raises(BadInput, match="recording 003000 does not tell its subject; index cefa-full"):
            derive("C-p1.1", rows, {})


class TestSurf:
    def test_the_challenge_s_attacks(self):
        rows, protocols = surf()
        codes = {r.sample_id: r.attack_code[:2] for r in rows}
        splits, _ = derive("S-official", rows, protocols)
        assert {split: {codes[s] for s in samples} for split, samples in splits.items()} == {
            "train": {"", "04", "05", "06"},
            "val": {"", "01", "02", "03"},
            "test": {"", "01", "02", "03"},
        }
        assert [len(splits[split]) for split in SPLITS] == [30 * 4, 10 * 4, 60 * 4]

    def test_pitfall_10_families_moved_between_splits_show(self):
        rows, protocols = surf()
        assert all(len(f) == 2 for f in families(protocols["S-folders"], rows).values())
        moved = set(protocols["S-folders"]["train"]) - set(derive("S-official", rows, protocols)[0]["train"])
        assert len(moved) == 30 * 3

    def test_an_attack_without_a_number_stays(self):
        rows = [row("S", "Val", "Val/0000/000000", "print_cut"), row("S", "CLKJ_AS0001", "CLKJ_AS0001/real.rssdk")]
        protocols = {"S-folders": {"train": [rows[1].sample_id], "val": [rows[0].sample_id]}}
        assert derive("S-official", rows, protocols)[0] == protocols["S-folders"]


class TestWmca:
    @pytest.mark.parametrize("name", WMCA_UNSEEN)
    def test_sizes_and_families(self, name):
        rows, protocols = wmca()
        splits, _ = derive(name, rows, protocols)
        published = next(rule for rule in manifest("W").protocol if rule.name == name).recordings
        assert {split: len(samples) for split, samples in splits.items()} == published
        counts = families(splits, rows)
        assert WMCA_UNSEEN[name] not in counts["train"] | counts["val"]
        assert set(counts["test"]) == {"", WMCA_UNSEEN[name]}

    def test_the_owner_s_list_comes_first(self):
        rows, protocols = wmca()
        protocols["W-LOO_prints"] = {"test": [rows[0].sample_id]}
        assert derive("W-LOO_prints", rows, protocols) == (protocols["W-LOO_prints"], [])

    def test_without_grandtest(self):
        with pytest.raises(BadInput, match="W-LOO_prints is made from W-grandtest, which the index does not have"):
            derive("W-LOO_prints", wmca()[0], {})


class TestOfficial:
    def test_the_union_of_four_sets(self, everything):
        rows, protocols = everything
        splits, notes = official(rows, protocols)
        assert notes == []
        for split in SPLITS:
            assert splits[split] == [s for letter in "CSWP" for s in protocols[OFFICIAL[letter]][split]]
        check_subjects("official", splits, {r.sample_id: r for r in rows})

    @given(st.sets(st.sampled_from("CSWPH")))
    def test_any_two_of_them_make_it(self, letters):
        rows, protocols = [], {}
        for letter in sorted(letters):
            members = [row(letter, f"{i}", f"{letter}{i}", "print" if i % 2 else "") for i in range(6)]
            rows += members
            ids = [r.sample_id for r in members]
            protocols[OFFICIAL.get(letter, "H-x")] = dict(zip(SPLITS, (ids[:2], ids[2:4], ids[4:]), strict=True))
        splits, notes = official(rows, protocols)
        used = letters & set(OFFICIAL)
        if len(used) < 2:
            assert (splits, notes) == ({}, [])
            return
        assert {s[0] for samples in splits.values() for s in samples} == used
        assert notes == [f"official: {x} is not indexed, so it is left out" for x in OFFICIAL if x not in used]

    def test_a_set_without_its_protocol_is_left_out_and_noted(self, everything):
        rows, protocols = everything
        others = {name: splits for name, splits in protocols.items() if name != "W-grandtest"}
        splits, notes = official(rows, others)
        assert notes == ["official: W has no complete protocol W-grandtest, so it is left out"]
        assert {s[0] for s in splits["test"]} == {"C", "S", "P"}
        only = {"C-id-ranges": protocols["C-id-ranges"]}
        assert official(rows, only)[0] == {}
        assert official(rows, only)[1][-1] == "official: left out, since it takes two sets"
        with pytest.raises(BadInput, match="protocol official takes two of C, S, W and P"):
            derive("official", rows, only)


class TestMmfasReadings:
    def test_by_subjects(self):
        """Uneven image counts: counted in subjects, the shares are near exact, whatever the images are."""
        rows = [
            row("C", f"AF-{s:03}", f"1_{s:03}_1_1_{k}", "print" if k % 2 else "", frame=k)
            for s in range(200)
            for k in range(2 + s % 7)
        ]
        by_id = {r.sample_id: r for r in rows}
        splits = draw_by_subject(rows, MMFAS_RATIO, 5, count_subjects=True)
        check_subjects("mmfas-subjects", splits, by_id)
        subjects = {split: len({by_id[s].subject_id for s in samples}) for split, samples in splits.items()}
        assert [subjects[split] for split in SPLITS] == pytest.approx([60, 10, 130], abs=1)
        assert splits != draw_by_subject(rows, MMFAS_RATIO, 5)

    @given(st.integers(1, 300), st.integers(0, 10**6), st.randoms(use_true_random=False))
    def test_by_image(self, n, seed, random):
        rows = [row("C", f"AF-{i // 8:03}", "1_000_1_1_1", frame=i) for i in range(n)]
        splits = draw_by_image(rows, MMFAS_RATIO, seed)
        assert sorted(s for samples in splits.values() for s in samples) == sorted(r.sample_id for r in rows)
        for split, share in zip(SPLITS, MMFAS_RATIO, strict=True):
            assert abs(len(splits[split]) - share * n / 20) <= 1
        random.shuffle(rows)
        assert draw_by_image(rows, MMFAS_RATIO, seed) == splits

    def test_pitfall_08_by_image_crosses_subjects_and_says_so(self, everything):
        rows, protocols = everything
        splits, notes = derive("mmfas-images", rows, protocols)
        assert notes[-1] == "mmfas-images: subjects are in several splits, as this reading has it"
        with pytest.raises(BadInput, match="is in"):
            check_subjects("mmfas-images", splits, {r.sample_id: r for r in rows})
        assert "mmfas-images" in CROSSING

    def test_the_default_is_mmfas(self, everything):
        rows, _ = everything
        assert derive("mmfas", rows, {}) == mmfas(rows)
        assert derive("mmfas-subjects", rows, {}) != mmfas(rows)
        assert derive("mmfas", rows, {}, 7) != mmfas(rows)

    @pytest.mark.parametrize("source", ["C-id-ranges", "C-p4.1", "C-p1.5"])
    def test_by_an_official_protocol(self, everything, source):
        rows, protocols = everything
        splits, notes = derive(f"mmfas-{source}", rows, protocols)
        original, _ = derive(source, rows, protocols)
        assert splits["train"] == original["train"]
        assert splits["val"] == original["val"]
        targets = [r.sample_id for letter in "SW" for r in rows if r.dataset == letter]
        assert splits["test"] == original["test"] + targets
        assert notes == ["mmfas: target H is not indexed, so its test is left out"]

    def test_an_official_protocol_without_val(self, everything):
        rows, _ = everything
        with pytest.raises(BadInput, match="mmfas-C-4@1: C-4@1 has not all of train, val and test"):
            derive("mmfas-C-4@1", rows, {"C-4@1": {"train": [rows[0].sample_id]}})
        with pytest.raises(BadInput, match="no protocol 'sunday'"):
            derive("mmfas-sunday", rows, {})


class TestEveryProtocol:
    @pytest.mark.parametrize("name", [name for name in DERIVED if name not in CROSSING])
    def test_pitfall_08_no_subject_is_in_two_splits(self, everything, name):
        rows, protocols = everything
        by_id = {r.sample_id: r for r in rows}
        splits, _ = derive(name, rows, protocols)
        check_subjects(name, splits, by_id)
        assert one_class(splits, by_id) == ""
        for samples in splits.values():
            assert len(samples) == len(set(samples))

    def test_pitfall_09_a_family_that_training_lacks(self, everything):
        rows, protocols = everything
        counts = families(protocols["W-grandtest"], rows)
        assert "papermask" not in counts["train"] | counts["val"]
        assert counts["test"]["papermask"] == 71

    def test_unknown_and_empty(self, everything):
        rows, protocols = everything
        with pytest.raises(BadInput, match=r"no protocol 'x'; there is .*C-id-ranges.*C-p1\.1.*mmdg"):
            derive("x", rows, protocols)
        with pytest.raises(BadInput, match=r"protocol C-p2\.1: the index holds no frame of it; index C first"):
            derive("C-p2.1", surf()[0], {})


class TestCommandLine:
    @pytest.fixture
    def path(self, everything, tmp_path):
        rows, protocols = everything
        save_index(tmp_path, rows, protocols, {letter: f"../{letter}" for letter in "CSWP"})
        return tmp_path / "index.csv"

    def test_a_protocol_is_added_and_counted(self, path, capsys):
        before = (path.read_bytes(), (path.parent / "roots.toml").read_bytes(), load_index(path).protocols)
        main(["protocol", "W-LOO_prints", "--index", str(path)])
        shown = capsys.readouterr().out
        assert "train: 497 recordings, published are 497, difference +0" in shown
        assert "W-LOO_prints added" in shown
        index = load_index(path)
        assert len(index.split("W-LOO_prints", "test")) == 181
        assert (path.read_bytes(), (path.parent / "roots.toml").read_bytes()) == before[:2]
        for name, splits in before[2].items():
            for split, numbers in splits.items():
                assert index.split(name, split).tolist() == numbers.tolist()
        main(["protocol", "W-LOO_prints", "--index", str(path)])
        assert "already there, left untouched" in capsys.readouterr().out

    def test_a_reading_with_subjects_in_several_splits_is_added_all_the_same(self, path, capsys):
        main(["protocol", "mmfas-images", "--index", str(path)])
        assert "note: mmfas-images: subjects are in several splits" in capsys.readouterr().out
        assert len(load_index(path).split("mmfas-images", "val")) == round(7846 * 7 / 20) - round(7846 * 6 / 20)

    def test_a_difference_from_the_published_size_is_shown(self, path, capsys):
        main(["protocol", "C-p4.1", "--index", str(path)])
        shown, progress = capsys.readouterr()
        assert re.search(r"reading \S+index\.csv: ([0-9]+)/\1\n", progress)
        assert "train: 400 recordings, published are 400, difference +0" in shown
        assert "test: 2436 recordings, published are 2323, difference +113" in shown

    @pytest.mark.parametrize(
        "name", [r.name for c in FILES for r in manifest(c).protocol] + ["mmfas", "official", "mmdg"]
    )
    def test_what_it_is(self, name, capsys):
        main(["protocol", name])
        assert len(capsys.readouterr().out.split()) > 4

    def test_errors(self, path, capsys):
        for arguments, sentence in (
            (["bogus"], "no protocol 'bogus'; there is C-id-ranges"),
            (["bogus", "--index", str(path)], "no protocol 'bogus'; there is C-id-ranges"),
            (["mmdg", "--index", str(path)], "name it with --lists"),
            (["H-LOO_Makeup", "--index", str(path)], "no protocol 'H-LOO_Makeup'"),
            (["mmfas-C-nonsense"], "no protocol 'mmfas-C-nonsense'"),
            (["mmfas-C-nonsense", "--index", str(path)], "no protocol 'C-nonsense'"),
            (["mmfas-W-grandtest"], "no protocol 'mmfas-W-grandtest'"),
        ):
            with pytest.raises(SystemExit) as e:
                main(["protocol", *arguments])
            assert e.value.code == 2
            assert sentence in capsys.readouterr().err
