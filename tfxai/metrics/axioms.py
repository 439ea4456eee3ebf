"""Does the map add up to the score, and does it tell one class from another?"""

import numpy as np

from tfxai.base.errors import InputError
from tfxai.metrics.correlation import pearson
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row


@row(
    "lower",
    "Sundararajan et al. 2017, arXiv:1703.01365; Bach et al. 2015",
    "0 or more, in parts of the score. 0: the relevance adds up to what it shares out.",
    bad="A large number: the map was scaled, cut or smoothed after it was made, or a "
    "rule lost relevance on its way; its values are then no parts of the score.",
)
def completeness(asked: Asked) -> np.ndarray:
    """What the relevance leaves unexplained, in parts of what it shares out.

    (B,): |sum(R) - d| / |d|, where d is the score, or what the method says it shares
    out (`extra["change"]`: integrated gradients take the baseline's score away). A d
    under 1e-6 counts as that. A map of zeros: 1.
    """
    e = asked.explanation
    total = np.asarray(e.relevance, float).reshape(len(asked.x), -1).sum(1)
    shared = np.asarray(e.extra.get("change", e.score), float)
    return np.abs(total - shared) / np.maximum(np.abs(shared), 1e-6)


@row(
    "lower",
    "the map of another class; see Gu et al. 2018, arXiv:1812.02100",
    "-1 to 1. 1: the map of another class is the same map; 0 or less: the map is of "
    "its own class.",
    needs=("analyzer",),
    bad="Near 1: whatever class is asked about, the same picture comes out; it shows "
    "edges, or the object that is there for every class.",
)
def discriminativeness(asked: Asked) -> np.ndarray:
    """How like the map is to that of the runner-up, the strongest of other classes.

    (B,): the correlation of the two maps. Where a map is constant it is 0; where both
    are, 1.
    """
    y = asked.logits.reshape(len(asked.x), -1)
    if y.shape[1] < 2:
        raise InputError("The model has one output.", "two classes to tell apart")
    np.put_along_axis(y := y.astype(float), asked.target[:, None], -np.inf, 1)
    e = asked.analyzer.analyze(
        asked.x, y.argmax(1).astype(np.int32), asked.batch_size, False
    )
    made = np.empty(len(asked.x))
    for i, (a, b) in enumerate(zip(asked.maps, e.heatmap(), strict=True)):
        both = np.ptp(a) == 0 and np.ptp(b) == 0
        made[i] = 1.0 if both else pearson(a.ravel(), np.asarray(b, float).ravel())
    return made
