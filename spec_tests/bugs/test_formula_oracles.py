"""The formula oracles against numbers worked by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest

from spec_tests.equations import formula_oracles as oracles


def test_softmax_and_cross_entropy():
    assert oracles.softmax([0.0, math.log(3)]) == pytest.approx([0.25, 0.75], abs=1e-15)
    assert oracles.softmax([1e4, 1e4, -1e4]) == [0.5, 0.5, 0.0]
    assert oracles.cross_entropy([0.0, math.log(3)], 0) == pytest.approx(math.log(4), abs=1e-15)
    assert oracles.cross_entropy([0.0, 1e4], 0) == 1e4


def test_similarity():
    a, b = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [6.0, 8.0]])
    assert oracles.similarity(a, b, False).tolist() == [[3, 50], [0, 16]]
    assert oracles.similarity(a, b, True) == pytest.approx(np.array([[0.6, 1.0], [0.0, 0.8]]), abs=1e-15)


def test_match_probabilities():
    s = np.array([[0.0, 0.5 * math.log(3)], [1.0, 1.0]])
    assert oracles.match_probabilities(s, 0.5) == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]), abs=1e-15)


def test_icl_loss_of_two_samples():
    rgb, depth, ir = np.eye(2), np.eye(2), np.eye(2)[::-1]
    # depth: every row has logits (own 1, other 0) at τ = 1, so H = ln(1 + 1/e); infrared the other way round
    expected = math.log(1 + math.exp(-1)) + math.log(1 + math.e)
    assert oracles.icl_loss(rgb, depth, ir, 1.0, True) == pytest.approx(expected, abs=1e-15)


def test_cm_loss():
    rd, ri = np.array([[0.0, math.log(3)], [0.0, 0.0]]), np.array([[math.log(7), 0.0]])
    # rd: ln(4/3) and ln 2, their mean; ri: the one pair is the same class, p = 1/8
    expected = (math.log(4 / 3) + math.log(2)) / 2 + math.log(8)
    assert oracles.cm_loss(rd, np.array([1, 0]), ri, np.array([1])) == pytest.approx(expected, abs=1e-15)


def test_mining_candidates():
    labels = [0, 1, 0, 0]
    assert oracles.negatives(labels, 0) == [1]
    assert oracles.positives(labels, 0) == [2, 3]
    assert oracles.negatives(labels, 1) == [0, 2, 3]
    assert oracles.positives(labels, 1) == []


def test_attention():
    q = np.array([[2.0, 0.0, 0.0, 0.0]])
    k = np.array([[math.log(3), 9.0, 9.0, 9.0], [0.0, 7.0, 7.0, 7.0]])
    v = np.array([[8.0], [4.0]])
    # d_k = 4, so the logits are ln 3 and 0 and the weights ¾ and ¼
    assert oracles.attention(q, k, v) == pytest.approx(np.array([[7.0]]), abs=1e-14)
    assert oracles.attention(q[None], k[None], v[None], 2.0) == pytest.approx(np.array([[[7.0]]]), abs=1e-14)


def test_switch_as_equation_6_prints_it():
    assert ["".join(oracles.switch("RDI", layer, "RDI")) for layer in range(4)] == ["RDI", "DIR", "IRD", "RDI"]
    assert "".join(oracles.switch("RDI", 1, "IDR")) == "DRI"


def test_heads_are_neighbouring_columns():
    # two heads of one feature, one token: each head returns its own value feature
    x = np.array([[[1.0, 2.0]]])
    wv = np.array([[1.0, 10.0], [100.0, 1000.0]])
    got = oracles.heads_concatenated(x, x, x, np.eye(2), np.eye(2), wv, 2)
    assert got.tolist() == [[[21.0, 2100.0]]]


def test_differential_attention_and_lambda():
    zero, v = np.zeros((1, 1, 2, 1)), np.array([[[[1.0], [3.0]]]])
    assert oracles.differential_attention(zero, zero, v, zero, zero, 0.25, 1.0).ravel().tolist() == [1.5, 1.5]
    two, three = np.array([math.log(2)]), np.array([math.log(3)])
    one = np.array([1.0])
    assert oracles.lambda_full(three, one, two, one, 0.8) == pytest.approx(1.8, abs=1e-15)


def test_alignment_logits():
    v = np.array([[1.0, 0.0]])
    captions = [np.array([[0.0, 5.0], [3.0, 4.0]]), np.array([[-2.0, 0.0]])]
    assert oracles.alignment_logits(v, captions, 10.0, "max") == pytest.approx(np.array([[6.0, -10.0]]), abs=1e-14)
    assert oracles.alignment_logits(v, captions, 10.0, "mean") == pytest.approx(np.array([[3.0, -10.0]]), abs=1e-14)


def test_targets():
    released = oracles.smooth_targets(np.array([1]), 0.1, False, 2)
    assert released == pytest.approx(np.array([[0.1, 1.0]]), abs=1e-15)
    normalised = oracles.smooth_targets(np.array([0]), 0.1, True, 2)
    assert normalised == pytest.approx(np.array([[0.95, 0.05]]), abs=1e-15)
    assert oracles.text_targets(np.array([0, 1]), 0.1).tolist() == [[0.9, 0.1], [0.1, 0.9]]
    # the released targets' least possible loss, at p = 1/1.1: a figure worked out independently
    logits = np.array([[0.0, math.log(10)]])
    assert oracles.soft_cross_entropy(logits, released) == pytest.approx(0.3351, abs=5e-5)


def test_first_partner():
    assert oracles.first_partner(np.array([3, 1, 3, 1])).tolist() == [0, 1, 0, 1]


def test_u_dsa_of_two_layers():
    def adapt(x):
        return x + 1

    def remap(x):
        return 10 * x

    # down 1, 2, 3; up: V'_2 = 3, V'_1 = 2 + 30, V'_0 = 1 + 320, or 1 + 20 when it reads V_1
    assert oracles.u_dsa(1, [adapt] * 2, [remap] * 2, "chained") == [1, 2, 3, 32, 321]
    assert oracles.u_dsa(1, [adapt] * 2, [remap] * 2, "released") == [1, 2, 3, 32, 21]
    assert oracles.u_dsa(1, [], [], "chained") == [1]


SCORES = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
BONAFIDE = np.array([False, False, True, False, True])


def test_rates_and_thresholds():
    assert oracles.rates(SCORES, BONAFIDE, 2.0) == (Fraction(2, 3), 0)
    assert oracles.rates(SCORES, BONAFIDE, 4.0) == (0, Fraction(1, 2))
    assert oracles.thresholds(SCORES) == [1.0, 2.0, 3.0, 4.0, math.inf]


def test_eer_auc_and_threshold_at_bpcer():
    # at 3: FAR 1/3, FRR 1/2, a gap of 1/6, the least of all
    assert oracles.eer(SCORES, BONAFIDE) == (Fraction(5, 12), 3.0)
    # six pairs: 2 beats 1, ties 2, loses to 3; 4 beats all three
    assert oracles.auc(SCORES, BONAFIDE) == Fraction(9, 12)
    assert oracles.threshold_at_bpcer(SCORES, BONAFIDE, 0.49) == 2.0
    assert oracles.threshold_at_bpcer(SCORES, BONAFIDE, 0.5) == 4.0
    assert oracles.threshold_at_bpcer(SCORES, BONAFIDE, 1.0) == math.inf


def test_eer_tie_rules():
    bonafide = np.array([True] * 4 + [False] * 4)
    # at 1 (FAR ½, FRR ¼) and at 2 (¼, ½) gap and sum are the same: the least threshold
    assert oracles.eer(np.array([0, 1, 2, 2, 0, 0, 1, 2.0]), bonafide) == (Fraction(3, 8), 1.0)
    # at 1 (1, ½) and at 2 (½, 0) cannot both be: FAR and FRR move apart; at 5 all are accepted, at +inf none
    assert oracles.eer(np.array([5.0] * 8), bonafide) == (Fraction(1, 2), 5.0)


def test_apcer_and_acer():
    families = np.array(["print", "replay", "", "print", "print"])
    assert oracles.apcer(SCORES[~BONAFIDE], families[~BONAFIDE], 2.0) == {"print": Fraction(1, 2), "replay": 1}
    assert oracles.acer(SCORES, BONAFIDE, families, 3.0) == (Fraction(1, 2) + Fraction(1, 2)) / 2
