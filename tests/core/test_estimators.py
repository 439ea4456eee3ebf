"""`predict` of a classifier returns classes, no scores: an error names what does."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

import tfxai
from tfxai.errors import ModelError, TfxaiWarning, WholeNumberWarning

X = np.random.default_rng(0).normal(size=(60, 3)) + 2.0 * (np.arange(60) % 3)[:, None]
Y = np.arange(60) % 3
TWO = Y > 0
PROBA, DECISION = "model=clf.predict_proba", "model=clf.decision_function"
VOTES = "model=lambda x: clf.predict(x)[:, None] == clf.classes_"

CLASSES = {
    "whole numbers": (LogisticRegression().fit(X, Y), PROBA),
    "floats": (LogisticRegression().fit(X, Y * 1.0), PROBA),
    "booleans": (GaussianNB().fit(X, TWO), PROBA),
    "text": (GaussianNB().fit(X, np.array(["a", "b", "c"])[Y]), PROBA),
    "a pipeline": (make_pipeline(StandardScaler(), GaussianNB()).fit(X, Y), PROBA),
    "a search": (GridSearchCV(GaussianNB(), {}, cv=2).fit(X, Y), PROBA),
    "of margins": (LinearSVC().fit(X, Y), DECISION),
    "of two margins": (RidgeClassifier().fit(X, TWO), DECISION),
    "votes": (VotingClassifier([("nb", GaussianNB())]).fit(X, Y), VOTES),
    "clusters": (KMeans(3, n_init=1, random_state=0).fit(X),
                 "model=lambda x: -clf.transform(x)"),
    "outliers": (IsolationForest(n_estimators=5).fit(X), DECISION),
    "components": (GaussianMixture(2, random_state=0).fit(X), PROBA),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_no_scores(name):
    clf, line = CLASSES[name]
    for model in (clf.predict, functools.partial(clf.predict)):
        with pytest.raises(ModelError) as caught:
            tfxai.explain(model, X[:2], "occlusion", baseline=0.0)
        assert caught.value.write == line
    with warnings.catch_warnings():
        warnings.simplefilter("error", WholeNumberWarning)
        model = eval(line.removeprefix("model="), {"clf": clf})
        e = tfxai.explain(model, X[:2], "occlusion", baseline=0.0)
    score = np.asarray(model(X[:2]), float).reshape(2, -1).max(1)
    np.testing.assert_allclose(e.score, score)


def test_the_estimator_itself_is_no_model_and_the_same_line_is_named():
    for clf, line in CLASSES.values():
        with pytest.raises(ModelError, match="is not a model") as caught:
            tfxai.wrap(clf)
        assert caught.value.write == line


@pytest.mark.parametrize("second", [Y, (Y > 0) * 1])
def test_a_list_of_one_array_per_output_is_named(second):
    clf = MultiOutputClassifier(GaussianNB()).fit(X, np.stack([Y, second], 1))
    with pytest.raises(ModelError, match="a list of 2 arrays") as caught:
        tfxai.explain(clf.predict_proba, X[:2], "occlusion", baseline=0.0)
    model = eval(caught.value.write.removeprefix("model="), {"clf": clf})
    e = tfxai.explain(model, X[:2], "occlusion", 1, baseline=0.0)
    np.testing.assert_allclose(e.score, clf.predict_proba(X[:2])[0][:, 1])


def test_a_list_of_one_array_per_sample_is_a_batch():
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1))
    y = tfxai.wrap(lambda v: [2 * one[..., 0] for one in v]).logits(x, 2)
    np.testing.assert_array_equal(y, 2 * x[..., 0])


WHOLE = np.round(X @ [1.0, 2.0, 3.0])


@pytest.mark.parametrize("reg", [
    DecisionTreeRegressor(random_state=0).fit(X, WHOLE),
    make_pipeline(
        StandardScaler(), DecisionTreeRegressor(random_state=0)
    ).fit(X, WHOLE.astype(int)),
    LinearRegression().fit(np.arange(9.0).reshape(3, 3), [1, 2, 3]),
])  # fmt: skip
def test_a_regression_of_whole_numbers_passes(reg):
    with warnings.catch_warnings():
        warnings.simplefilter("error", WholeNumberWarning)
        e = tfxai.explain(reg.predict, X[:3], "occlusion", 0, baseline=0.0)
    base = X[:3].copy()
    base[:, 1] = 0.0
    np.testing.assert_allclose(e.score, reg.predict(X[:3]))
    wanted = reg.predict(X[:3]) - reg.predict(base)
    np.testing.assert_allclose(e.relevance[:, 1], wanted, rtol=1e-6)


@pytest.mark.parametrize("model", [
    CLASSES["whole numbers"][0].predict_proba,
    lambda x: CLASSES["whole numbers"][0].predict(x)[:, None] == np.arange(3),
    lambda x: np.floor(x[:, 0]),
])  # fmt: skip
def test_scores_are_no_warning(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TfxaiWarning)
        tfxai.wrap(model).logits(X)


@pytest.mark.parametrize("model", [
    lambda x: CLASSES["whole numbers"][0].predict(x),
    lambda x: x.argmax(1)[:, None],
    lambda x: x[:, 0] > 0,
])  # fmt: skip
def test_whole_numbers_of_a_function_are_one_warning(model):
    wrapped = tfxai.wrap(model)
    with pytest.warns(WholeNumberWarning, match=r"clf.predict_proba") as caught:
        wrapped.logits(X, 7)
    assert len(caught) == 1
