"""Data frames reach a callable as data frames, with the types of their columns.

The constants are the output of `shap.KernelExplainer(f, background)` of shap 0.51.0
with `nsamples=1000, l1_reg=0`, on arrays of objects that f makes a data frame of.
"""

import os

import numpy as np
import pytest

import tfxai
from tfxai.errors import InputError, OptionError

if os.environ.get("CI") == "true":
    import pandas as pd
else:
    pd = pytest.importorskip("pandas")

#: The values (B, T, 6), and the base values (T,).
SHAP = [
    [[0.2044, 0.4407, 1.1078903947, 1.1891, 0.17162673968, 0.27599361168],
     [-0.022319802695, 0.083705496768, 0.50687975004, 0.13666503106,
      -0.074324453105, 0.011820543808]],
    [[-0.4656, -0.1126, 3.3960560347, -0.7726, 0.61762263290, 1.4608259183],
     [-1.8370830764e-04, -0.11692910431, 0.76960841471, -0.078697061724,
      0.046357958738, 0.022233666887]],
    [[-0.4436, 0.3219, 0.45331681497, 1.1429, -0.59009810632, 0.054939539128],
     [-6.8826054104e-04, 0.10346241632, 0.20603901054, 0.28690222270,
      0.018859112229, 0.020963030315]],
]  # fmt: skip
BASE = [1.8906417522, 0.3575216063]
JOBS = ["clerk", "nurse", "smith"]
TOWNS = ["Bonn", "Kiel"]


def frame(n, seed):
    """Whole numbers, NaN, categories, texts, booleans and dates."""
    r = np.random.default_rng(seed)
    age = r.integers(18, 80, n)
    income = np.where(r.random(n) < 0.25, np.nan, r.normal(40, 9, n).round(1))
    job, town = r.choice(JOBS, n), r.choice(TOWNS, n)
    member, days = r.random(n) < 0.5, r.integers(0, 900, n)
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D")
    return pd.DataFrame({
        "age": age, "income": income, "job": pd.Categorical(job, JOBS), "town": town,
        "member": member, "since": since,
    })  # fmt: skip


def score(v):
    wage = v["income"].fillna(30.0)
    kind = v["job"].map({"clerk": 1.0, "nurse": 2.0, "smith": -1.0}).astype(float)
    years = (v["since"] - pd.Timestamp("2020-01-01")).dt.days / 365.25
    y = v["age"] / 50 * kind + (v["town"] == "Bonn") * wage / 20
    y = y + v["member"] * years * kind
    return np.stack([y, np.tanh(y - v["income"].isna())], 1)


BACKGROUND, X = frame(25, 1), frame(3, 2)
FAST = {"batch_size": 4096}


def test_the_values_are_those_of_shap():
    def typed(v):
        assert list(v.dtypes) == list(X.dtypes) and list(v.columns) == list(X.columns)
        return score(v)

    e = tfxai.explain(
        typed, X, "kernel_shap", [[0, 1]] * 3, background=BACKGROUND, **FAST
    )
    np.testing.assert_allclose(e.extra["coefficients"], SHAP, rtol=0, atol=1e-9)
    np.testing.assert_allclose(e.extra["baseline_score"], [BASE] * 3, atol=1e-9)
    assert e.features == list(X.columns)
    np.testing.assert_allclose(e.score, score(X), rtol=1e-12)


def test_columns_of_the_background_are_found_by_name():
    rows = BACKGROUND[list(BACKGROUND.columns[::-1])]
    e = tfxai.explain(score, X, "kernel_shap", 0, background=rows, **FAST)
    np.testing.assert_allclose(e.relevance, np.array(SHAP)[:, 0], atol=1e-6)
    with pytest.raises(InputError, match="no column 'job'"):
        tfxai.explain(
            score, X, "kernel_shap", 0, background=rows.drop(columns="job"), **FAST
        )


def test_groups_are_of_columns_by_name():
    groups = {"person": ["age", "job"], "place": ["town"]}
    e = tfxai.explain(
        score, X, "kernel_shap", 0, background=BACKGROUND, groups=groups, **FAST
    )
    assert e.extra["coefficients"].shape == (3, 5)
    assert (e.relevance[:, 0] == e.relevance[:, 2]).all()
    total = e.sum_by(groups)
    assert total.features == ["person", "income", "place", "member", "since"]
    np.testing.assert_allclose(total.relevance.sum(1), e.score - BASE[0], rtol=1e-5)


def test_another_order_of_the_columns_is_another_table():
    analyzer = tfxai.create_analyzer("kernel_shap", score, background=BACKGROUND)
    first = analyzer.analyze(X, 0, **FAST)
    names = list(X.columns[::-1])
    second = analyzer.analyze(X[names], 0, **FAST)
    assert second.features == names
    np.testing.assert_allclose(second.relevance[:, ::-1], first.relevance, atol=1e-6)


def pipeline():
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = ColumnTransformer([
        ("numbers", SimpleImputer(), ["age", "income"]),
        ("words", OneHotEncoder(), ["job", "town"]),
    ])  # fmt: skip
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    data = frame(80, 3)
    return make_pipeline(columns, forest).fit(data, score(data)[:, 0] > 2)


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling", "lime"])
def test_a_pipeline_with_a_column_transformer(method):
    model = pipeline()
    e = tfxai.explain(
        model.predict_proba, X, method, 1, background=BACKGROUND[:5], n_samples=80,
        **FAST,
    )  # fmt: skip
    np.testing.assert_allclose(e.score, model.predict_proba(X)[:, 1])
    used = np.abs(e.relevance).max(0) > 1e-3
    assert used[:4].any()
    assert np.abs(e.relevance[:, 4:]).max() < (0.05 if method == "lime" else 1e-9)
    if method != "lime":
        base = model.predict_proba(BACKGROUND[:5])[:, 1].mean()
        np.testing.assert_allclose(e.relevance.sum(1), e.score - base, atol=1e-6)


@pytest.mark.parametrize("kind", [dict, "row", "frame", "array"])
def test_occlusion_covers_a_column_by_that_of_a_row(kind):
    row = BACKGROUND.iloc[[0]]
    baseline = {
        dict: lambda: row.iloc[0].to_dict(),
        "row": lambda: row.iloc[0],
        "frame": lambda: row[list(row.columns[::-1])],
        "array": lambda: row.to_numpy(object)[0],
    }[kind]()
    e = tfxai.explain(score, X, "occlusion", 0, baseline=baseline)
    for i, name in enumerate(X.columns):
        covered = X.copy()
        covered[name] = row[name].repeat(3).set_axis(X.index)
        wanted = score(X)[:, 0] - score(covered)[:, 0]
        np.testing.assert_allclose(e.relevance[:, i], wanted, rtol=1e-5, atol=1e-7)


def test_values_of_another_type_are_refused():
    for baseline, text in (
        (0, "of 'job'"),
        ({**BACKGROUND.iloc[0].to_dict(), "age": 0.5}, "float"),
        (
            {**BACKGROUND.iloc[0].to_dict(), "job": "judge"},
            "'judge' is none of the categories",
        ),
    ):
        with pytest.raises(InputError, match="do not fit the types") as error:
            tfxai.explain(score, X, "kernel_shap", 0, baseline=baseline)
        assert text in str(error.value)
        assert "background=x_train[:100]" in str(error.value)
    with pytest.raises(OptionError, match="background=x_train"):
        tfxai.explain(lambda v: v[["age"]], X[["age", "income"]], "kernel_shap", 0)


def test_numbers_stay_numbers_and_nan_is_a_value():
    table = X[["age", "income", "member"]].reset_index(drop=True)
    table.loc[0, "income"] = np.nan

    def f(v):
        assert v["age"].dtype == table["age"].dtype and v["member"].dtype == bool
        return (v[["age"]].to_numpy() * v["income"].isna().to_numpy()[:, None]) * 1.0

    rows = BACKGROUND[list(table.columns)].fillna(1.0)
    e = tfxai.explain(f, table, "kernel_shap", 0, background=rows[:4])
    assert e.inputs.dtype == float
    total = table["age"] * table["income"].isna()
    np.testing.assert_allclose(e.relevance.sum(1), total, rtol=1e-5)
    np.testing.assert_allclose(
        e.relevance[0, 1], (table["age"][0] + rows["age"][:4].mean()) / 2, rtol=1e-5
    )
    same = tfxai.explain(f, table, "kernel_shap", 0, background=table.iloc[[0]])
    assert (same.relevance[0] == 0).all()


def test_missing_values_of_public_cases():
    """shap issues 357 (a background of NaN) and 1990 (None beside texts)."""
    table = pd.DataFrame({"a": [1.0, 2], "b": [3.0, np.nan]})
    e = tfxai.explain(
        lambda v: v.fillna(0).to_numpy() @ [[2.0], [-1]], table, "kernel_shap", 0,
        background=table.iloc[:1] * np.nan,
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance, [[2, -3], [4, 0]], atol=1e-6)
    linear, compose, impute, steps, preprocessing = (
        pytest.importorskip(f"sklearn.{k}")
        for k in ("linear_model", "compose", "impute", "pipeline", "preprocessing")
    )
    jobs = pd.Series([None, "clerk", "nurse", "clerk", None, "nurse"], dtype=object)
    x = pd.DataFrame({"age": [20, np.nan, 40, 60, 50, np.nan], "job": jobs})
    known = impute.SimpleImputer(
        strategy="constant", fill_value="?", missing_values=None
    )
    texts = steps.make_pipeline(known, preprocessing.OneHotEncoder())
    columns = compose.make_column_transformer(
        (impute.SimpleImputer(), ["age"]), (texts, ["job"])
    )
    pipe = steps.make_pipeline(columns, linear.LogisticRegression())
    pipe.fit(x, [0, 1, 1, 1, 0, 0])
    e = tfxai.explain(pipe.decision_function, x, "kernel_shap", 0, background=x)
    for name, found in zip(x.columns, e.relevance.T, strict=True):  # additive
        other = [pipe.decision_function(x.assign(**{name: v})) for v in x[name]]
        wanted = pipe.decision_function(x) - np.mean(other, 0)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_table_beside_an_image():
    images = np.random.default_rng(4).random((3, 2, 2, 1))

    def f(v):
        return v["table"][["age"]].to_numpy() + v["image"].sum((1, 2))

    cover = [BACKGROUND.iloc[0], 0]
    x = {"table": X[["age", "town"]], "image": images}
    cover[0] = cover[0][["age", "town"]]
    e = tfxai.explain(f, x, "kernel_shap", 0, baseline=cover, n_samples=70,
                      segmenter=["auto", np.arange(4).reshape(2, 2)])  # fmt: skip
    assert e.features == {"table": ["age", "town"]}
    age = X["age"] - BACKGROUND["age"][0]
    np.testing.assert_allclose(e["table"].relevance[:, 0], age, atol=1e-6)
    np.testing.assert_allclose(e["image"].relevance, images, atol=1e-6)


@pytest.mark.parametrize("package", ["pyarrow", "polars"])
def test_tables_of_other_packages(package):
    library = pytest.importorskip(package)
    data = {"n": [1, 2], "x": [0.5, None], "word": ["a", "b"], "ok": [True, False]}
    table = getattr(library, "table", None) or library.DataFrame
    x = table(data)

    def f(v):
        assert type(v) is type(x)
        rows = v.to_pylist() if package == "pyarrow" else v.to_dicts()
        return np.array(
            [[r["n"] * (r["word"] == "a") + (r["x"] or 9) * r["ok"]] for r in rows]
        )

    e = tfxai.explain(f, x, "kernel_shap", 0, background=x)
    assert e.features == ["n", "x", "word", "ok"]
    np.testing.assert_allclose(e.score, [1.5, 0])
    np.testing.assert_allclose(e.relevance.sum(1), [0.75, -0.75], rtol=1e-6)
    numbers = x.select(["n", "ok"])
    e = tfxai.explain(
        lambda v: np.array(v["n"], float)[:, None], numbers, "occlusion", 0
    )
    np.testing.assert_allclose(e.relevance, [[1, 0], [2, 0]])


def test_an_explanation_of_objects_is_saved_and_is_a_table(tmp_path):
    e = tfxai.explain(score, X, "kernel_shap", 0, background=BACKGROUND[:3], **FAST)
    again = tfxai.load(e.save(tmp_path / "e.npz"))
    assert again.inputs[0, 0] == X["age"][0] and again.inputs[0, 3] == X["town"][0]
    assert again.inputs[0, 4] is bool(X["member"][0])
    np.testing.assert_array_equal(again.relevance, e.relevance)
    rows = e.to_dataframe()
    assert rows["feature"].tolist()[:6] == list(X.columns)
    assert rows["value"][2] == X["job"][0]
    for figure in (e.plot(), tfxai.plot.beeswarm(e), tfxai.plot.scatter(e, "job")):
        assert figure.axes
    one = e.plot().axes[0]
    texts = {t.get_text() for t in one.get_yticklabels()}
    assert any("town" in t and X["town"][0] in t for t in texts), texts
