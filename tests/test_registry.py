"""Registries, and options that are read from signatures and docstrings."""

import threading

import keras
import numpy as np
import pytest

import tfxai
from tfxai.base.options import first_sentence, read_options, summary_of
from tfxai.base.registry import Registry, modules_of
from tfxai.core.describe import Description, describe
from tfxai.core.registry import FAMILIES, METHODS, lookup, methods
from tfxai.errors import OptionError, UnknownNameError
from tfxai.metrics.registry import metrics


def colours():
    return Registry(
        "colour", {"red": 1, "green": 2}, listing="a colour", usage="paint({!r})"
    )


def test_a_registry_is_a_mapping_that_suggests_names():
    r = colours()
    assert r["red"] == 1 and list(r) == ["red", "green"] and len(r) == 2
    assert "red" in r and "blue" not in r and ["red"] not in r
    assert r.get("blue") is None and r.get("blue", 3) == 3
    with pytest.raises(UnknownNameError) as caught:
        r["grean"]
    assert isinstance(caught.value, KeyError)
    assert caught.value.seen == "There is no colour 'grean'."
    assert caught.value.wanted == "a colour, perhaps green"
    assert caught.value.write == "paint('green')"
    with pytest.raises(UnknownNameError, match=r"one of \['red'\]"):
        Registry("colour", {"red": 1})[7]
    with pytest.raises(UnknownNameError, match="no colour"):
        Registry("colour")["red"]


def test_a_name_is_registered_once():
    r = colours()
    assert r.register("blue", 3) == 3 and r["blue"] == 3
    with pytest.raises(OptionError, match="There is a colour 'blue' already"):
        r.register("blue", 4)
    assert r["blue"] == 3
    r.register("blue", 4, replace=True)
    assert r["blue"] == 4


def test_a_registry_is_restored_after_an_error():
    r = colours()
    with pytest.raises(ZeroDivisionError), r.restored():
        r.register("blue", 3)
        r.register("red", 9, replace=True)
        raise ZeroDivisionError
    assert dict(r) == {"red": 1, "green": 2}


def test_modules_are_imported_at_the_first_lookup_and_once():
    calls = []

    def named():
        calls.append(threading.get_ident())
        assert "red" in r  # a module may look up while it is imported
        return ["json"]

    r = Registry("colour", {"red": 1}, modules=named)
    r.register("blue", 2)
    assert not calls
    assert len(r) == 2 and "blue" in r and list(r)
    assert len(calls) == 1


def test_an_import_that_fails_is_tried_again():
    r = Registry("colour", {"red": 1}, modules=lambda: ["no_such_module_of_tests"])
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            len(r)


def test_modules_of_packages_are_found_in_their_folders():
    found = modules_of("tfxai.sampling")
    assert {"tfxai.sampling.lime", "tfxai.sampling.leg.analyzer"} <= set(found)
    assert "tfxai.sampling.leg" not in found


# -- options -------------------------------------------------------------------------


def shared(wrapped, described, depth=3, *, hidden=None):
    """Forwarded.

    Args:
        depth: How deep
            it goes, e.g. three levels. More about it.
        width (int): Described here as well.
    """


def builder(wrapped, width=2, *, height, **options):
    """Return a box; it has sides.

    More text.

    Args:
        width: The width in pixels.
            A second sentence.
        height, other: Both of them.
        **options: Passed on.

    Returns:
        depth: Not an argument.
    """


def test_options_are_read_from_signatures_and_docstrings():
    found = read_options(builder, shared, without=("hidden",))
    assert {n: o.description for n, o in found.items()} == {
        "width": "The width in pixels.",
        "height": "Both of them.",
        "depth": "How deep it goes, e.g. three levels.",
    }
    assert found["width"].default == 2 and str(found["width"]) == "width=2"
    assert found["height"].required and str(found["height"]) == "height"
    assert summary_of(builder) == "Return a box; it has sides"


def test_options_of_a_class_are_those_of_its_init():
    class Config:
        """A configuration.

        Args:
            noise: The deviation.
        """

        def __init__(self, wrapped, noise=0.1, unit=abs):
            """Create it.

            Args:
                unit: A function.
            """

    found = read_options(Config)
    assert [str(o) for o in found.values()] == ["noise=0.1", "unit=abs"]
    assert [o.description for o in found.values()] == ["The deviation.", "A function."]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("One. Two.", "One."),
        ("By Bach et al. 2015. Two.", "By Bach et al. 2015."),
        ("A share of 0.5, i.e. half", "A share of 0.5, i.e. half"),
        ("", ""),
    ],
)
def test_the_first_sentence(text, wanted):
    assert first_sentence(text) == wanted


# -- methods -------------------------------------------------------------------------


def test_methods_are_listed_by_family():
    listed = methods()
    assert [m.name for m in listed] == [m.name for m in tfxai.methods()]
    assert {m.name for m in listed} == set(METHODS)
    families = list(dict.fromkeys(m.family for m in listed))
    assert families == list(FAMILIES)
    for m in listed:
        assert m.summary and m.needs and m.paper and m.options, m.name
        assert not {"wrapped", "model", "preprocess", "output"} & set(m.options)


def test_options_of_presets_and_heads_are_those_of_the_method():
    options = lookup("sglrp").options
    assert options["scaling"].default is True and options["low"].default is None
    assert options["batch_norm"].default == "fold"
    assert lookup("lrp.epsilon").options["epsilon"].default == 1e-7
    assert "epsilon" not in lookup("lrp.z").options


def test_options_that_builders_pass_on_are_found():
    assert lookup("kernel_shap").options["segmenter"].default == "auto"
    assert lookup("leg_tv").options["base_size"].default == 28
    assert "resize" in lookup("gradcam").options
    assert "times" not in lookup("gradcam").options
    assert "centred" not in lookup("vargrad").options


#: The names of iNNvestigate 1.0.8.3 (analyzer/__init__.py).
INNVESTIGATE = (
    "input random gradient gradient.baseline input_t_gradient deconvnet guided_backprop"
    " integrated_gradients smoothgrad lrp lrp.z lrp.z_IB lrp.epsilon lrp.epsilon_IB"
    " lrp.w_square lrp.flat lrp.alpha_beta lrp.alpha_2_beta_1 lrp.alpha_2_beta_1_IB"
    " lrp.alpha_1_beta_0 lrp.alpha_1_beta_0_IB lrp.z_plus lrp.z_plus_fast"
    " lrp.sequential_preset_a lrp.sequential_preset_b lrp.sequential_preset_a_flat"
    " lrp.sequential_preset_b_flat deep_taylor deep_taylor.bounded deep_lift.wrapper"
    " pattern.net pattern.attribution"
)


def test_every_name_of_innvestigate_is_known():
    names = INNVESTIGATE.split()
    assert len(names) == 32 and set(names) - set(METHODS) == {
        "gradient.baseline", "deep_lift.wrapper",
    }  # fmt: skip
    for name in names:
        assert METHODS[name] is METHODS.get(name) and name in METHODS
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.float32([[1, 2, 3]])
    e = tfxai.explain(model, x, "deep_lift.wrapper", 1, baseline=1)
    wanted = (x - 1) * model.layers[0].kernel.numpy()[:, 1]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5, atol=1e-6)
    assert e.method == "deeplift"
    described = [str(tfxai.describe(n)) for n in ("deep_lift.wrapper", "deeplift")]
    assert described[0] == described[1]


def test_a_description_holds_everything():
    for m in methods():
        text = tfxai.describe(m.name)
        assert isinstance(text, Description) and repr(text) == str(text)
        flat = " ".join(text.split())
        for part in (m.name, m.summary, m.family, m.needs, m.paper):
            assert " ".join(part.split()) in flat
        for option in m.options.values():
            assert f"    {option}"[:60] in text
        assert max(map(len, text.splitlines())) <= 88


def test_an_unknown_method_is_not_described():
    with pytest.raises(UnknownNameError, match="perhaps lime") as caught:
        describe("limee")
    assert "tfxai.methods()" in caught.value.wanted


def test_metrics_have_options():
    for m in metrics():
        assert all(not o.required for o in m.options.values()), m.name


def test_every_option_is_described():
    for entry in [*methods(), *metrics()]:
        for option in entry.options.values():
            assert option.description.endswith((".", "?")), (entry.name, option.name)
