"""mmFAS Eq. 9: L = L_BCE + α L_ICL + β L_CM."""

from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

WEIGHT = st.floats(-10, 10, allow_subnormal=False)


@spec("mmfas-eq9", "total_loss")
@given(draw=draws(), alpha=WEIGHT, beta=WEIGHT)
def test_total_loss_weights_alignment_and_matching(draw, alpha, beta):
    bce, icl, cm = (draw.normal() for _ in range(3))
    expected = f64(bce) + alpha * f64(icl) + beta * f64(cm)
    close(call("total_loss", bce, icl, cm, alpha, beta), expected, magnitude=10)
    close(call("total_loss", bce, icl, cm, alpha=alpha, beta=beta), expected, magnitude=10)


@spec("mmfas-eq9", "total_loss")
@given(draw=draws())
def test_total_loss_is_the_plain_sum_by_default(draw):
    bce, icl, cm = (draw.normal() for _ in range(3))
    close(call("total_loss", bce, icl, cm), f64(bce) + f64(icl) + f64(cm))


@spec("mmfas-eq9", "total_loss")
@fewer(5)
@given(draw=exact_draws(), alpha=st.sampled_from([0.5, -2.0]), beta=st.sampled_from([3.0, -0.7]))
def test_total_loss_has_the_gradient_of_every_term(draw, alpha, beta):
    terms = (draw.normal() for _ in range(3))
    gradients(lambda bce, icl, cm: call("total_loss", bce, icl, cm, alpha=alpha, beta=beta), *terms)
