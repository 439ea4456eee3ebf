"""Configuration of the documentation site.

    python -m pip install -e ".[cpu,docs]"
    sphinx-build -W --keep-going -b html docs build/site

The pages of methods, metrics, errors and the API are written into `docs/generated` from
the registries and docstrings when the build begins. Set TFXAI_DOCS_ONLINE=1 to link to
the documentation of TensorFlow's and NumPy's objects, which needs the network.
"""

# ruff: noqa: E402

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

import site_pages

import tfxai

project = "tfxai"
author = "the authors of tfxai"
copyright = author
release = version = tfxai.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_click",
    "sphinx_copybutton",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"  # tests/test_notebooks.py executes them
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "none"  # the docstrings describe the arguments
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as in the source, and no long values
napoleon_google_docstring = True
default_role = "code"  # the docstrings write code between single backticks
exclude_patterns = ["build"]
smartquotes = False  # R' in a formula is no quotation
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"tfxai {release}"
html_theme_options = {"navigation_with_keys": True}
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }
    if os.environ.get("TFXAI_DOCS_ONLINE")
    else {}
)


def setup(app: Any) -> None:
    """Write the generated pages, and complete the links of the pages."""
    site_pages.write(DOCS / "generated")
    app.connect("source-read", site_pages.complete)
    app.connect("autodoc-process-docstring", site_pages.escape, priority=1)
