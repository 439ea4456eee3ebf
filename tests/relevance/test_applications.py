"""Networks of keras.applications are read correctly, and conserve relevance."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.benchmarks.conservation import measure

#: One network of each architecture that takes seconds.
NETWORKS = (
    *("VGG16", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "DenseNet121"),
)
#: The side of the image, where the default of 224 takes much memory or time.
SIDES = {"VGG16": 96, "ConvNeXtTiny": 96, "DenseNet121": 96}
PRESETS = ("lrp.epsilon_gamma_box", "lrp.attn")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_conserves(name):
    # In a process of its own, which gives the memory of the network back.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(measure, name, PRESETS, SIDES.get(name)).result()
    assert result["forward"] <= 1e-5
    for preset, residual in result["residuals"].items():
        assert residual <= 1e-3, preset
