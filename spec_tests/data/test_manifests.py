"""The manifests: read strictly, agreeing with the adapters and with their own sums, shown and exported whole."""

import hashlib
import importlib.util
import json
import re

import pytest

from data_manifests import __main__ as command
from data_manifests.__main__ import main
from data_manifests.adapters import LAYOUTS, casia_surf, cefa, hq_wmca, padisi, wmca
from data_manifests.croissant import CONFORMS_TO, croissant
from data_manifests.errors import BadInput
from data_manifests.index import COLUMNS, DATASETS
from data_manifests.lists import FORMATS
from data_manifests.manifests import FILES, FOLDER, SPLITS, Count, expand, letter, manifest, read_manifest
from data_manifests.protocols import DERIVED, WMCA_UNSEEN

ALL = sorted(FILES)


def codes(dataset):
    return {code: attack.family for attack in manifest(dataset).attack for code in attack.each_code()}


@pytest.mark.parametrize("dataset", ALL)
class TestEverySet:
    def test_it_is_complete(self, dataset):
        about = manifest(dataset)
        assert (about.code, about.name) == (dataset, DATASETS[dataset])
        assert {"rgb", "depth", "ir"} <= {modality.name for modality in about.modality}
        for text in (about.owner, about.access, about.licence, about.figures, about.personal_data, about.url):
            assert text.strip()
        assert about.attack
        assert about.protocol
        assert about.expected
        assert about.list
        assert about.defect

    def test_layouts_are_those_of_the_adapters(self, dataset):
        assert {layout.id for layout in manifest(dataset).layout} == {layout.id for layout in LAYOUTS[dataset]}

    def test_lists_add_up(self, dataset):
        for entry in manifest(dataset).list:
            assert entry.format in FORMATS
            if None not in (entry.bonafide, entry.attack):
                assert entry.bonafide + entry.attack == entry.lines
            if entry.benchmark == "mmdg":
                assert entry.sha1
                assert entry.live == FORMATS[entry.format].live == "1"

    def test_counts_of_splits_add_up(self, dataset):
        for expected in manifest(dataset).expected:
            for split in SPLITS:
                groups = [c for c in expected.count if c.split == split]
                whole = [c for c in groups if not c.label and c.recordings is not None]
                parts = [c for c in groups if c.label == "bonafide" or c.family]
                if whole and len(parts) > 2:
                    assert sum(c.recordings for c in parts) == whole[0].recordings

    def test_it_holds_no_personal_data_and_no_name_of_a_person(self, dataset):
        lines = (FOLDER / f"{FILES[dataset]}.toml").read_text().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("sha1 = "))
        assert not re.search(r"[0-9]{8}", text)
        assert "@" not in re.sub(r"CASIA_\w+@p|p2@[17]|4@[123]", "", text)  # no mail address

    def test_croissant_has_the_index_s_columns_and_every_layout(self, dataset):
        document = json.loads(json.dumps(croissant(manifest(dataset))))
        assert document["conformsTo"] == CONFORMS_TO
        assert document["@type"] == "sc:Dataset"
        assert [field["name"] for field in document["recordSet"][0]["field"]] == list(COLUMNS)
        files = {part["@id"] for part in document["distribution"]}
        assert files == {layout.id for layout in manifest(dataset).layout} | {"index"}
        assert {field["source"]["fileSet"]["@id"] for field in document["recordSet"][0]["field"]} <= files
        for part in document["distribution"]:
            assert part["includes"]
            assert part["encodingFormat"]

    @pytest.mark.skipif(
        importlib.util.find_spec("mlcroissant") is None,
        reason="mlcroissant is not installed; pip install mlcroissant to validate the Croissant metadata",
    )
    def test_croissant_is_valid(self, dataset, tmp_path):
        import mlcroissant

        path = tmp_path / "croissant.json"
        path.write_text(json.dumps(croissant(manifest(dataset))))
        metadata = mlcroissant.Dataset(path)
        assert not metadata.metadata.issues.errors
        assert len(metadata.metadata.record_sets[0].fields) == len(COLUMNS)

    def test_croissant_names_an_index_with_its_hash(self, dataset, tmp_path, capsys):
        path = tmp_path / "index.csv"
        path.write_text(",".join(COLUMNS) + "\n")
        main(["croissant", dataset, "--index", str(path)])
        document = json.loads(capsys.readouterr().out)
        (index,) = (part for part in document["distribution"] if part["@id"] == "index")
        assert (index["@type"], index["contentUrl"]) == ("cr:FileObject", str(path))
        assert index["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert {field["source"]["fileObject"]["@id"] for field in document["recordSet"][0]["field"]} == {"index"}
        assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", document["version"])
        with pytest.raises(BadInput, match=r"name an index\.csv"):
            croissant(manifest(dataset), tmp_path / "nowhere.csv")

    def test_describe_shows_all_of_it(self, dataset, capsys):
        main(["describe", dataset])
        printed = capsys.readouterr().out
        about = manifest(dataset)
        for part in (*about.layout, *about.modality):
            assert getattr(part, "id", None) or part.name in printed
        for text in [about.licence, *(d.what for d in about.defect), *(r.name for r in about.protocol)]:
            assert text in printed
        for entry in about.list:
            assert re.search(rf"^{re.escape(entry.file)} .*{entry.lines or 'not published'}", printed, re.MULTILINE)

    def test_croissant_on_the_command_line(self, dataset, capsys):
        main(["croissant", FILES[dataset]])
        said = capsys.readouterr()
        assert json.loads(said.out) == json.loads(json.dumps(croissant(manifest(dataset))))
        assert "a reader finds no records" in said.err


class TestAgainstTheAdapters:
    def test_casia_surf(self):
        assert codes("S") == dict.fromkeys(casia_surf.ATTACKS, "print_cut")

    def test_cefa(self):
        families = codes("C")
        assert {code: families[code] for code in ("3_1_2", "3_2_2", "3_1_4")} == {
            "3_1_2": cefa.PAI["2"],
            "3_2_2": cefa.PAI["2"],
            "3_1_4": cefa.PAI["4"],
        }
        assert set(families.values()) == {"print", "replay", "3dmask", "silicone"}

    def test_wmca(self):
        assert codes("W") == {code: family for code, family in wmca.FAMILIES.items() if family}

    def test_hq_wmca(self):
        assert codes("H") == {f"{kind:02}": family for kind, family in hq_wmca.FAMILIES.items() if family}

    def test_padisi(self):
        assert codes("P") == {f"m5{kind}": family for kind, family in padisi.FAMILIES.items()}


def test_the_readme_lists_every_expected_count_with_its_day():
    page = (FOLDER / "README.md").read_text().split("## What `verify` proves")[1].split("\n## ")[0]
    rows: dict[tuple[str, str], str] = {}
    layouts: list[str] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("layout", "---"):
            layouts = re.findall("`([a-z0-9-]+)`", cells[0]) or layouts
            rows |= {(layout, cells[1].strip("`")): cells[4] for layout in layouts}
    expected = {(layout, e.name): e.date for code in FILES for e in manifest(code).expected for layout in e.layouts}
    assert {key: day for key, day in rows.items() if key[1] != "none"} == expected


class TestTheSheetsNumbers:
    """Numbers that follow from others in the manifests."""

    def test_videos(self):
        assert (
            3 * next(c for c in manifest("C").expectation("cefa-full", "paper").count if not c.split).recordings
            == 23538
        )
        assert sum(entry.lines for entry in manifest("S").lists("mmdg").values()) == 20961
        assert sum(entry.lines for entry in manifest("P").lists("mmdg").values()) == 2029

    def test_wmca_leave_one_out_follows_from_grandtest(self):
        counts = {(c.split, c.family): c.recordings for c in manifest("W").expectation("wmca-hdf5").count if c.label}
        total = {split: sum(n for (s, _), n in counts.items() if s == split) for split in SPLITS}
        rules = {rule.name: rule for rule in manifest("W").protocol}
        assert rules["W-grandtest"].recordings == total == {"train": 565, "val": 557, "test": 557}
        for name, family in WMCA_UNSEEN.items():
            assert rules[name].recordings == {
                "train": total["train"] - counts["train", family],
                "val": total["val"] - counts["val", family],
                "test": counts["test", ""] + counts["test", family],
            }

    def test_wmca_papermask_is_unseen_and_counted_as_zero_not_as_unknown(self):
        papermask = [c for c in manifest("W").expectation("wmca-hdf5").count if c.family == "papermask"]
        assert [(c.split, c.recordings) for c in papermask] == [("train", 0), ("val", 0), ("test", 71)]

    def test_padisi_folds_are_all_samples(self):
        folds = [rule for rule in manifest("P").protocol if rule.name.startswith("P-3folds")]
        assert [sum(rule.recordings.values()) for rule in folds] == [2029] * 3

    def test_every_protocol_that_is_made_by_rule_is_described(self):
        described = {rule.name for code in FILES for rule in manifest(code).protocol} | set(command._GENERAL)
        assert set(DERIVED) | {"mmdg"} <= described


class TestStrictReading:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "wmca.toml"
        path.write_text((FOLDER / "wmca.toml").read_text())
        return path

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ('owner = "Idiap', 'onwer = "Idiap', "owner is missing"),
            ("year = 2019", 'year = "2019"', "year is '2019' and must be int"),
            ("year = 2019", "year = 2019\nvenue = 3", "'venue' is no field; there are code"),
            ("year = 2019", "year = true", "year is True and must be int"),
            ('code = "W"', 'code = "X"', "code 'X' is not one of"),
            ('family = "wig"', 'family = "wigs"', "attack family 'wigs' is not one of"),
            ('"1_08..1_12"', '"1_12..1_08"', "are no range"),
            ("recordings = 1679", "recordings = -1", "recordings is -1 and cannot be negative"),
            ("recordings = 1679", "recording = 1679", "'recording' is no field"),
            ('class = "bonafide"', 'class = "live"', "class 'live'"),
            ('split = "train", subjects', 'split = "dev", subjects', "split 'dev'"),
            ('layouts = ["wmca-hdf5"]', 'layouts = ["wmca-h5"]', "layout 'wmca-h5' is not described"),
            ('layouts = ["wmca-hdf5"]', 'layouts = "wmca-hdf5"', "layouts must be a list"),
            ("recordings = { train = 565,", "recordings = { dev = 565,", "recordings must name train, val, test"),
            ('sha1 = "bf1f18c582f3"', 'sha1 = "bf1f"', "12 to 40 hex digits"),
            ('"101_06_067_1_02:20"', '"101_06_067_1_02"', "unpaired must be"),
            ("[[modality]]", "[modality]", "not a readable TOML"),
            ('name = "WMCA"', 'name = "WMCA', "not a readable TOML"),
        ],
    )
    def test_a_mistake_is_named(self, path, old, new, sentence):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(BadInput, match=re.escape(sentence)) as e:
            read_manifest(path)
        assert "wmca.toml" in str(e.value)

    def test_what_is_not_published_is_absent_not_zero(self, path):
        about = read_manifest(path)
        assert about == manifest("W")
        assert about.expectation("wmca-hdf5").count[0] == Count("train", "", "", 35, 565, None)
        assert about.expectations("nowhere") == ()
        with pytest.raises(BadInput, match=r"no expectation 'x' for WMCA in the layout wmca-jpg; there is release"):
            about.expectation("wmca-jpg", "x")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(BadInput, match="not a readable TOML"):
            read_manifest(tmp_path / "x.toml")


def test_expand():
    assert expand("2_75..2_78") == ["2_75", "2_76", "2_77", "2_78"]
    assert expand("5_08..5_11") == ["5_08", "5_09", "5_10", "5_11"]
    assert expand("x") == ["x"]


def test_letters_and_names(capsys):
    assert [letter(text) for text in ("c", "S", "wmca", "HQ-WMCA", "padisi-face", "casia_surf")] == list("CSWHPS")
    with pytest.raises(SystemExit) as e:
        main(["describe", "mnist"])
    assert e.value.code == 2
    assert "error: no data set 'mnist'; there are C (CASIA-SURF CeFA)" in capsys.readouterr().err


def test_list(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["set", "C", "S", "W", "H", "P"]
    assert all(layout.id in line for line in lines[1:] for layout in manifest(line[0]).layout)
