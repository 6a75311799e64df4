"""Bugs of prototypes."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_PROTOTYPES = "prototypes"
_BLOCK = "reference.rivals.blocks.prototypes"

SECOND = [
    *mutants(
        TWIN,
        _PROTOTYPES,
        "prototype_classes",
        ("attacks_together", "place + 1", "place * 0 + 1"),
        ("bona_fide_by_data_set", "torch.logical_not(bonafide)", "bonafide"),
        ("first_attacks_with_bona_fide", "(place + 1)", "place"),
        ("one_left_out", "place + 1", "place + 2"),
        ("bona_fide_last", "* torch.logical_not(bonafide)", "* torch.logical_not(bonafide) + 9 * bonafide"),
        ("bona_fide_apart", "(place + 1) * torch.logical_not(bonafide)", "2 * place + torch.logical_not(bonafide)"),
        ("classes_alone", "(place + 1) * ", "1 * "),
        ("floats", "(place + 1)", "(place + 1.0)"),
        ("data_sets_alone", " * torch.logical_not(bonafide)", ""),
    ),
    *mutants(
        TWIN,
        _PROTOTYPES,
        "class_means",
        ("sums", " / max(len(own), 1)", ""),
        ("of_all", "max(len(own), 1)", "len(features)"),
        ("one_more", "max(len(own), 1)", "(len(own) + 1)"),
        ("empty_is_nan", "own.sum(0) / max(len(own), 1)", "own.mean(0)"),
        ("of_the_others", "classes == number", "classes != number"),
        ("last_class_lost", "range(count)", "range(count - 1)"),
        ("one_class_shifted", "classes == number", "classes == number + 1"),
        ("of_length_one", "torch.stack(rows)", "torch.nn.functional.normalize(torch.stack(rows))"),
        ("detached", "features[classes", "features.detach()[classes"),
        ("greatest", "own.sum(0) / max(len(own), 1)", "(own.amax(0) if len(own) else own.sum(0))"),
    ),
    *mutants(
        TWIN,
        _PROTOTYPES,
        "moved_prototypes",
        ("the_other_way", "new + kept * (old - new)", "old + kept * (new - old)"),
        ("always_a_fifth", "kept * (", "0.2 * ("),
        ("never", "kept * (", "0 * ("),
        ("added", "(old - new)", "old"),
        ("away", "(old - new)", "(new - old)"),
        ("half_way", "kept * (", "0.5 * ("),
        ("new_detached", "new + kept", "new.detach() + kept"),
        ("old_detached", "(old - new)", "(old.detach() - new)"),
        ("mean_of_all", "(old - new)", "(old.mean() - new)"),
    ),
    *mutants(
        TWIN,
        _PROTOTYPES,
        "prototype_loss",
        ("similarity", "torch.linalg.vector_norm(features - prototype, dim=1)", "(features * prototype).sum(1)"),
        ("squared", "torch.linalg.vector_norm(features - prototype, dim=1)", "(features - prototype).square().sum(1)"),
        ("city_blocks", "vector_norm(features - prototype, dim=1)", "vector_norm(features - prototype, 1, dim=1)"),
        ("farthest_wins", "-distances, dim=0", "distances, dim=0"),
        ("over_the_batch", "dim=0)).sum()", "dim=1).mean()).sum()"),
        ("sum_of_samples", " / len(classes)", ""),
        ("own_alone", " + torch.logsumexp(-distances, dim=0)", ""),
        ("own_forgotten", "(own + ", "(0 * own + "),
        ("own_turned", "(own + ", "(-own + "),
        ("first_prototype_is_own", "distances[classes,", "distances[0 * classes,"),
        ("prototypes_detached", "for prototype in prototypes]", "for prototype in prototypes.detach()]"),
        ("features_detached", "features - prototype", "features.detach() - prototype"),
        ("overflows", "torch.logsumexp(-distances, dim=0)", "torch.log(torch.exp(-distances).sum(0))"),
        (
            "root_by_hand",
            "torch.linalg.vector_norm(features - prototype, dim=1)",
            "(features - prototype).square().sum(1).sqrt()",
        ),
    ),
]

OURS = [
    *mutants(
        _BLOCK,
        _PROTOTYPES,
        "prototype_classes",
        ("first_attacks_with_bona_fide", "0, 1 + place)", "0, place)"),
        ("turned", "bonafide, 0, 1 + place", "bonafide, 1 + place, 0"),
    ),
    *mutants(
        _BLOCK,
        _PROTOTYPES,
        "class_means",
        ("empty_is_nan", ".clamp_min(1)", ""),
        ("of_all", "of_class.sum(0).clamp_min(1)[:, None]", "len(features)"),
        ("sums", " / of_class.sum(0).clamp_min(1)[:, None]", ""),
    ),
    *mutants(
        _BLOCK,
        _PROTOTYPES,
        "moved_prototypes",
        ("the_other_way", "kept * old + (1 - kept) * new", "kept * new + (1 - kept) * old"),
    ),
    *mutants(
        _BLOCK,
        _PROTOTYPES,
        "prototype_loss",
        ("farthest_wins", "F.cross_entropy(-distances", "F.cross_entropy(distances"),
        ("over_the_batch", "dim=2", "dim=0"),
        ("city_blocks", "dim=2", "dim=2, ord=1"),
    ),
]
