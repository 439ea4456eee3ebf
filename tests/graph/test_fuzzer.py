"""Random networks in random spellings have one answer and one map."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.graph import fuzzer, written
from tests.graph.fuzzer import Net, compare, drawn, nets
from tfxai.relevance import presets
from tfxai.relevance import rules as R
from tfxai.relevance.rules import Rule

#: What a network of few blocks may warn of.
pytestmark = pytest.mark.filterwarnings("ignore::tfxai.errors.NoFirstLayerWarning")


def runs(count):
    """Return Hypothesis settings with the same `count` networks in every run."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@runs(6)
@given(nets(), st.integers(0, 2**31))
def test_a_network_has_one_map(net, ways):
    assert compare(net, ways) == {}


@pytest.mark.slow
@runs(100)
@given(nets(), st.integers(0, 2**31))
def test_a_hundred_networks_have_one_map(net, ways):
    assert compare(net, ways) == {}


def test_the_fuzzer_sees_a_rule_that_a_spelling_changes(monkeypatch):
    """The spelling has transposes, where the plain form has none."""
    net = Net("sequence", ("dense",), "mean", False, 3, "lrp.epsilon")
    assert compare(net, 3) == {}
    lossy = Rule("move", lambda *given: R.move.function(*given) * 0.99)
    monkeypatch.setattr(presets, "DEFAULTS", {**presets.DEFAULTS, "route": lossy})
    assert set(compare(net, 3)) == {"lrp.attn", "lrp.epsilon"}


def test_the_networks_have_every_block_method_and_end():
    many = [drawn(i) for i in range(1000)]
    assert {(n.start, b) for n in many for b in n.blocks} == {
        (start, b) for start, table in written.BLOCKS.items() for b in table
    }
    assert {n.method for n in many} == set(fuzzer.METHODS)
    assert {(n.start, n.end) for n in many} == {
        (start, e) for start, ends in written.ENDS.items() for e in ends
    }
