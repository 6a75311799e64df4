"""Bugs of what the rows share that were made for RGB: the trunk, the stem, places of data sets."""

from spec_tests.bugs.campaign import Mutant, mutants

_BLOCK = "reference.rivals.blocks.resnet18"

SECOND: list[Mutant] = []
OURS = [
    *mutants(
        _BLOCK,
        "test_resnet18.py",
        "Trunk",
        ("all_parts_are_stages", 'name.startswith("layer")', 'name.startswith("l") or name == "relu"'),
    ),
    *mutants(
        _BLOCK,
        "test_resnet18.py",
        "resnet18_trunk",
        ("weights_ignored", "if begun.state is not None:", "if begun.state is None:"),
        ("another_start", 'mode="fan_out", nonlinearity="relu"', 'mode="fan_out", nonlinearity="linear"'),
        ("other_fan", 'mode="fan_out"', 'mode="fan_in"'),
        ("one_block", "range(STAGE_BLOCKS - 1)", "range(STAGE_BLOCKS - 2)"),
        ("stride_within", "BasicBlock(inside, outside, stride, past)", "BasicBlock(inside, outside, 1, past)"),
        ("one_stage_less", "range(2, stages + 1)", "range(2, stages)"),
        ("all_begun", "begun_stages + 1, stages + 1", "stages, stages"),
        ("pool_not_padded", "nn.MaxPool2d(3, stride=2, padding=1)", "nn.MaxPool2d(3, stride=2)"),
    ),
    *mutants(
        _BLOCK,
        "test_resnet18.py",
        "Options",
        ("narrow_weights_taken", "self.width != WIDTH and", "self.width == 1 and"),
        ("none_is_refused", "and self.weights != start.NONE", ""),
    ),
    *mutants(
        "reference.rivals.blocks.stem",
        "test_stem.py",
        "",
        ("range_as_it_comes", "SHARED_SCALE * x if self.shared", "x if self.shared"),
        ("own_range_always", 'options.stem_range == "shared"', "False"),
        ("shared_range_always", 'options.stem_range == "shared"', "True"),
        ("bias_always", 'bias=options.stem_bias == "with"', "bias=True"),
        ("sum_for_mean", "weight / weight.sum(1, keepdim=True)", "weight"),
        ("rgb_for_mean", 'passing if options.stem_start == "mean" else torch.zeros(3, 3)', "torch.zeros(3, 3)"),
        ("random_bias", "self.conv.bias.zero_()", "self.conv.bias.add_(0)"),
        ("modalities_turned", "images = (rgb, depth, ir)", "images = (ir, depth, rgb)"),
        ("asks_for_all", 'return "R" if self.stem == "rgb" else super().sees', "return super().sees"),
    ),
    *mutants(
        "reference.rivals.blocks.domains",
        "test_domains.py",
        "",
        ("number_for_place", "return place", "return domain"),
        ("stranger_taken", "(known[place] == domain).all()", "(place == place).all()"),
        ("never_balanced", "return True", "return False"),
        ("negative_steps", "steps: CountOrNone", "steps: int"),
    ),
]
