"""The documentation site: ``sphinx-build -W --keep-going docs docs/_build`` with the extra ``[docs]``."""

import re
from typing import Any

import fusednet

project = "fusednet"
author = "the fusednet authors"
copyright = "2026, the fusednet authors"
version = release = fusednet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # single backticks in docstrings are links where they name something, else code

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
autoclass_content = "class"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"fusednet {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False


def escape_initials(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep docutils from reading the "P." of a reference to P. J. Huber as the sixteenth item of a list."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"^(\s*\.\. \[\d+\] [A-Z])\. ", r"\1\\. ", line)


def name_language(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell browsers and screen readers which pages are Chinese."""
    if page.endswith("_zh"):
        context["language"] = "zh-Hans"


def setup(app: Any) -> None:
    app.connect("html-page-context", name_language)
    app.connect("autodoc-process-docstring", escape_initials, priority=100)  # before numpydoc
