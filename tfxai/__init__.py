"""tfxai: why did this network answer that? Explanations for Keras 3 and TensorFlow.

    analyzer = tfxai.create_analyzer("sglrp", model, low=-1, high=1)
    e = analyzer.analyze(x)              # -> Explanation
    e.plot()

`tfxai.analyzers()` lists every method, what it needs and where it is published.
"""

from tfxai import _checks as _checks  # first: is there a TensorFlow at all?
from tfxai.api import analyzers, create_analyzer, explain
from tfxai.explanation import Explanation, load
from tfxai.model import wrap

__version__ = "0.1.0"
__all__ = [
    "Explanation",
    "analyzers",
    "create_analyzer",
    "explain",
    "load",
    "wrap",
]
