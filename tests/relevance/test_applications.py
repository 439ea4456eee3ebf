"""Networks of keras.applications: their steps are read right, and conserve."""

import pytest

from tests.benchmarks.conservation import measure

#: One of each architecture that can be had in seconds.
NETWORKS = (
    *("VGG16", "ResNet50", "MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0"),
    *("ConvNeXtTiny", "DenseNet121"),
)
PRESETS = ("lrp.epsilon", "lrp.epsilon_gamma_box", "lrp.attn")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_conserves(name):
    made = measure(name, PRESETS)
    assert made["forward"] <= 1e-5
    for preset, residual in made["residuals"].items():
        assert residual <= 1e-3, preset
