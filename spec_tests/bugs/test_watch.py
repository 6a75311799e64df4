"""What `adapter.call` demands of every function, and which differences `close` accepts."""

import numpy as np
import pytest
import torch

from spec_tests.equations import adapter
from spec_tests.equations.strategies import Draw
from spec_tests.equations.tolerances import close


@pytest.fixture
def under_test(monkeypatch):
    """Put one function in the place of the implementation."""

    def put(function):
        fake = adapter.Implementation("fake", {"similarity": function}, {"similarity": "fake"})
        monkeypatch.setattr(adapter, "active", fake)
        adapter.calls.clear()

    yield put
    adapter.calls.clear()


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x: x.add_(1), "changed its input"),
        (lambda x: torch.rand(2), "global random state of torch"),
        (lambda x: x * np.random.rand(), "global random state of numpy"),  # noqa: NPY002
        (lambda x: torch.manual_seed(3) and x, "global random state of torch"),
        (lambda x: x.float(), "gave torch.float32"),
    ],
)
def test_a_function_that_is_not_pure_is_caught(under_test, function, complaint):
    under_test(function)
    with pytest.raises(AssertionError, match=complaint):
        adapter.call("similarity", torch.ones(2, dtype=torch.float64))


def test_a_failing_equation_test_fails_and_says_what_it_called(under_test):
    under_test(lambda x: x)

    @adapter.spec("mmfas-eq1", "similarity")
    def wrong():
        assert adapter.call("similarity", torch.ones(2)).sum() == 3

    with pytest.raises(AssertionError) as raised:
        wrong()
    assert "out_1 = similarity(torch.tensor([1.0, 1.0]" in raised.value.__notes__[0]


def test_an_array_changed_in_place_is_caught(under_test):
    under_test(lambda x: x.sort())
    with pytest.raises(AssertionError, match="changed its input"):
        adapter.call("similarity", np.array([2.0, 1.0]))


def test_a_pure_function_is_let_through(under_test):
    under_test(lambda x, generator: torch.rand(2, generator=generator, dtype=x.dtype))
    adapter.call("similarity", torch.ones(2), torch.Generator().manual_seed(1))


def test_the_snippet_rebuilds_large_strided_and_repeated_arguments(under_test):
    under_test(lambda x, generator, names: x)
    large = torch.arange(300.0).repeat_interleave(2)[::2]
    generator = torch.Generator().manual_seed(7)
    names = [np.array(["a", "b"])]
    for _ in range(3):
        adapter.call("similarity", large, generator, names=names)
    text = adapter.snippet(AssertionError("got 1\nexpected 2"))
    assert "for _ in range(3):\n    out_1 = similarity(" in text
    assert text.endswith("# AssertionError: got 1\n# expected 2")
    code = text.partition("\n")[2].replace("from fake import similarity", "seen = []")
    scope = {"similarity": lambda *args, **kwargs: scope["seen"].append((args, kwargs))}
    exec(code, scope)
    (again, same_generator), named = scope["seen"][0]
    assert torch.equal(again, large)
    assert not again.is_contiguous()
    assert same_generator.initial_seed() == 7
    assert same_generator is scope["seen"][2][0][1]
    assert named["names"][0].tolist() == ["a", "b"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_close_tells_right_from_wrong(dtype):
    right = torch.tensor([1.0, -2.0], dtype=dtype)
    close(right, [1.0, -2.0])
    for wrong in (right * 1.001, right + 1e-3, right[:1], right * float("nan"), right * float("inf")):
        with pytest.raises(AssertionError):
            close(wrong, [1.0, -2.0])


def test_a_draw_repeats_itself_and_has_its_layout():
    first, second = (Draw(5, "float32", "transposed") for _ in range(2))
    assert torch.equal(first.normal(3, 4), second.normal(3, 4))
    assert not Draw(5, layout="transposed").normal(3, 4).is_contiguous()
    assert not Draw(5, layout="strided").normal(4).is_contiguous()
    assert Draw(5, layout="plain", dtype="float32").normal(3, 4).dtype == torch.float32
    norms = Draw(6).rows(50, 3).norm(dim=1)
    assert norms.min() >= 0.0099
    assert norms.max() <= 101


def square(x, y):
    return (x * x).sum() * y


def test_gradients_are_compared_with_differences():
    x, y = Draw(1).normal(3), Draw(2).normal()
    adapter.gradients(square, x, y)
    adapter.gradients(lambda x, y: (x.exp(), y * 2), x, y)
    with pytest.raises(AssertionError, match="no gradient"):
        adapter.gradients(lambda x, y: square(x.detach(), y.detach()), x, y)
    with pytest.raises(AssertionError, match="no gradient reaches input 1"):
        adapter.gradients(lambda x, y: square(x, y.detach()), x, y)
    with pytest.raises(AssertionError, match="the gradient of input 0"):
        adapter.gradients(lambda x, y: square(x, y) + (x * x.detach()).sum(), x, y)
