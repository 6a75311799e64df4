"""Bugs of the trunk that SSDG, SSAN and SA-FAS share."""

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
]
