"""Bugs of epochs of one frame of each recording."""

from spec_tests.bugs.campaign import Mutant, mutants

_BLOCK, _OWN = "reference.rivals.blocks.recordings", "test_recordings.py"

SECOND: list[Mutant] = []
OURS = [
    *mutants(
        _BLOCK,
        _OWN,
        "RecordingSampler",
        ("first_frame_always", "draws.choice(frames)", "frames[0]"),
        (
            "never_shuffled",
            "draws.permutation([draws.choice(frames) for frames in self.frames])",
            "np.array([draws.choice(frames) for frames in self.frames])",
        ),
        ("every_epoch_alike", "[self.seed, e]", "[self.seed]"),
        ("every_seed_alike", "[self.seed, e]", "[e]"),
        ("a_batch_too_small", "rest >= least", "rest >= 1"),
        ("last_batch_left_out", "(rest >= least)", "0"),
        ("none_at_all", "if not self.steps:", "if False:"),
    ),
    *mutants(
        _BLOCK,
        _OWN,
        "frame_of_each",
        ("first_of_each", "[: place + 1][-1]", "[0]"),
        ("last_of_each", "[: place + 1][-1]", "[-1]"),
        ("one_too_early", "[: place + 1]", "[: max(place, 1)]"),
    ),
    *mutants(_BLOCK, _OWN, "SamplerAmong", ("places_among_the_chosen", "self.chosen[places]", "places")),
]
