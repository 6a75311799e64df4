"""Single bugs of what is believed of files and options."""

from __future__ import annotations

from spec_tests.bugs.campaign import mutants

BUGS = [
    *mutants(
        "reference.proven",
        "test_runs.py",
        "",
        ("checksums_unread", "damaged = archive.testzip()", "damaged = None"),
        ("anybodys_checkpoint", 'state["owner"] != owner', "False"),
        ("digest_unread", "said != digest(tensors)", "False"),
        ("digest_of_names", "found.update(memoryview(x.reshape(-1).view(torch.uint8).numpy()))", "pass"),
        ("without_a_digest", "if said is None", "if False"),
    ),
    *mutants(
        "reference.runs",
        "test_runs.py",
        "Run.load_checkpoint",
        ("log_unread", 'self._log_digest(epochs) != state["log"]', "False"),
        ("scores_unread", "found.get(name) != digest", "False"),
        ("lines_uncounted", "not 0 <= epochs <= len(self.lines) or numbers != [*range(len(numbers))]", "False"),
        (
            "cut_at_once",
            "found = self._score_digests(epochs)",
            "self.cut(epochs)\n        found = self._score_digests(epochs)",
        ),
    ),
    *mutants(
        "reference.runs",
        "test_runs.py",
        "Run._log_digest",
        ("with_later_test_sets", "if sets and not self._scores_every", "if False"),
    ),
    *mutants(
        "reference.options",
        "test_options.py",
        "",
        ("no_number_is_one", "math.isnan(value) or value < self.low", "value < self.low"),
        ("without_an_upper_bound", "value > self.high or value == math.inf", "value == math.inf"),
        ("bound_included", "(self.above and value == self.low)", "False"),
        ("bounds_of_the_class_alone", "for c in kind.__mro__", "for c in [kind]"),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_a_sample_that_trains_and_is_scored_is_refused",
        "Training.find_splits",
        ("trained_samples_are_scored", "if both.size", "if False"),
        ("validation_alone", '("val", "test")', '("val",)'),
    ),
    *mutants(
        "data_manifests.hdf5",
        "test_hdf5.py",
        "",
        ("raw_storage_followed", "found.is_virtual or found.external", "found.is_virtual"),
        ("virtual_sets_followed", "found.is_virtual or found.external", "found.external"),
        ("links_followed", "isinstance(link, h5py.HardLink)", "True"),
        ("claims_believed", "> LARGEST", "> 10**30"),
        ("a_writer_is_damage", 'and "lock" in str(e)', "and False"),
        ("a_filter_is_damage", 'if "filter" in why', "if False"),
    ),
    *mutants(
        "data_manifests.json_files",
        "test_damage.py::test_another_digit_or_file_is_never_taken_for_the_one_that_was_written",
        "",
        ("one_seal_for_all", "hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()", '"x"'),
    ),
    *mutants(
        "data_manifests.sums",
        "test_damage.py",
        "",
        ("sums_unread", "== sha256", "is not None"),
        ("no_sums_written", "{**contents, NAME: text(contents)}", "contents"),
    ),
    *mutants(
        "data_manifests.index",
        "test_index.py::test_a_text_that_was_edited_is_read_again",
        "",
        ("edits_unseen", "if not sums.is_as_written(file, digest.hexdigest()):", "if False:"),
        ("protocols_unlisted", '{path.name: index, "protocols.csv": table}', "{path.name: index}"),
    ),
    *mutants(
        "data_manifests.verify",
        "test_verify.py::test_a_line_of_the_state_that_was_changed_does_not_count",
        "_read_state",
        ("changed_lines_believed", "line == _line(entry[:-1])", "True"),
    ),
    *mutants(
        "paper_tables.report.collect",
        "test_damage.py",
        "",
        ("fragments_unproven", "checked(folder / FRAGMENT, again)", "(folder / FRAGMENT).read_bytes()"),
        ("pictures_unproven", "data = checked(path, again)", "data = path.read_bytes()"),
    ),
    *mutants(
        "reference.standin_clip.weights",
        "test_damage.py",
        "find",
        (
            "weights_unproven",
            'json_object(about, again).get("sha256") != sha256(path)',
            "not json_object(about, again)",
        ),
    ),
    *mutants(
        "reference.proven",
        "test_clip.py::test_a_file_that_is_not_exactly_these_weights_is_refused_and_never_executed",
        "load",
        ("zips_unproven", "        if damaged:", "        if False:"),
    ),
]
