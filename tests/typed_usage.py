"""Lines that type checkers must understand; mypy checks this file with the package."""

from typing import Any, assert_type

import tfxai
from tfxai.core.analyzer import Analyzer
from tfxai.errors import InputError


def typed(model: Any, x: Any) -> None:
    """Use the public names with the options of methods."""
    analyzer = tfxai.create_analyzer("lime", model, n_samples=100, target=3)
    assert_type(analyzer, Analyzer)
    e = tfxai.explain(model, x, "lrp.epsilon", 0, epsilon=1e-3)
    assert_type(e, tfxai.Explanation)
    assert_type(tfxai.explain(model, x), tfxai.Explanation)
    assert_type(tfxai.explain(model, x, "own.method", anything=1), tfxai.Explanation)
    tfxai.plot.text(e)
    tfxai.targets.log_odds(3)
    raise InputError("found", "wanted", tfxai.recommend(model, x)[0].line)
