"""The pictures of the README: a text, a table and a report.

    python docs/screenshots.py        # needs Chromium, for the report

It writes `docs/images/text.png`, `table.png` and `report.png`.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib as mpl
from PIL import Image
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import tfxai
from tfxai.demo import network, scenes
from tfxai.errors import TfxaiWarning

IMAGES = Path(__file__).with_name("images")
GOOD = ("a superb film", "the acting is lovely", "a moving plot", "superb and funny")
BAD = ("a dull film", "the acting is thin", "a thin plot", "dull and slow")
METHODS = ["sglrp", "gradcam", "random"]
SENTENCE = "the plot is thin and slow , but the acting is superb"


def text() -> None:
    """A sentence, by the Shapley values of its words."""
    model = make_pipeline(CountVectorizer(), LogisticRegression(C=10))
    model.fit([*GOOD, *BAD], [1] * len(GOOD) + [0] * len(BAD))
    e = tfxai.explain(
        model.predict_proba, [SENTENCE], "kernel_shap", 1, names=["bad", "good"]
    )
    e.plot(figsize=(6, 2.2)).savefig(IMAGES / "text.png", dpi=80)


def table() -> None:
    """A row of a table, by the Shapley values of its columns."""
    data = load_iris(as_frame=True)
    forest = RandomForestClassifier(20, random_state=0).fit(data.data, data.target)
    given = {"names": list(data.target_names), "background": data.data[::10]}
    e = tfxai.explain(forest.predict_proba, data.data[60:61], "kernel_shap", **given)
    e.plot(figsize=(6, 2.2)).savefig(IMAGES / "table.png", dpi=80)


def report(browser: str) -> None:
    """The page that compares methods, as a browser shows it."""
    x = scenes(2, digits=(3, 7)).images
    c = tfxai.compare(network(progress=False), x, methods=METHODS)
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "report.html", Path(folder) / "report.png"
        c.report(str(page))
        command = [browser, "--headless", "--no-sandbox", "--hide-scrollbars"]
        size = "--window-size=1000,1000"
        subprocess.run(
            [*command, size, f"--screenshot={shot}", page.as_uri()], check=True
        )
        picture = (
            Image.open(shot).convert("RGB").resize((600, 600)).crop((0, 170, 470, 550))
        )
    picture.quantize(128).save(IMAGES / "report.png", optimize=True)


def main() -> None:
    """Write the three pictures."""
    mpl.use("agg")
    IMAGES.mkdir(exist_ok=True)
    warnings.simplefilter("ignore", TfxaiWarning)
    text()
    table()
    report(sys.argv[1] if len(sys.argv) > 1 else "chromium")
    for path in IMAGES.glob("*.png"):
        print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
