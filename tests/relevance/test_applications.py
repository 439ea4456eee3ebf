"""Networks of keras.applications: correct outputs and conserved relevance."""

import pytest

from tests.benchmarks.conservation import measure

#: One network of each architecture that takes seconds.
NETWORKS = (
    *("VGG16", "ResNet50", "MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0"),
    *("ConvNeXtTiny", "DenseNet121"),
)
#: The side of the image, where the default of 224 takes 5 GB of memory.
SIDES = {"VGG16": 96}
PRESETS = ("lrp.epsilon", "lrp.epsilon_gamma_box", "lrp.attn")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_conserves(name):
    result = measure(name, PRESETS, SIDES.get(name))
    assert result["forward"] <= 1e-5
    for preset, residual in result["residuals"].items():
        assert residual <= 1e-3, preset
