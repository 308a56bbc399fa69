"""Every Python block of the pages runs, in order, in one namespace a page.

A `text` block right after one is what it prints. A page stops, as skipped, where it needs a package that is
not installed.
"""

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fusednet as fn

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\s*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
OPTIONAL = ("gymnasium", "keras", "onnx", "onnxruntime", "tensorflow", "torch")


def snippets(page):
    """Return (first line, code, expected output or None) of each Python block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(2)), match[2], match[3])
        for match in BLOCK.finditer(text)
        if match[1] == "python"
    ]


def run(page):
    namespace = {"__name__": "__main__"}
    for line, code, expected in snippets(page):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile("\n" * line + code, page, "exec"), namespace)
        if expected is not None:
            assert output.getvalue() == expected, f"{page.name}, line {line + 1}"


@contextlib.contextmanager
def skip_what_is_missing():
    """Skip the test where an optional package is not installed."""
    try:
        try:
            yield
        except doctest.UnexpectedException as error:
            raise error.exc_info[1] from None
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder, without windows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")


# Keras' arrays know less of NumPy 2 than NumPy wishes.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_snippets(page):
    with skip_what_is_missing():
        run(page)


def docstring_examples():
    """Return the examples in the docstrings of the package's modules."""
    names = [module.name for module in pkgutil.walk_packages(fn.__path__, "fusednet.")]
    examples = []
    for name in ["fusednet", *(name for name in names if name != "fusednet._core")]:
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            examples += doctest.DocTestFinder(exclude_empty=True).find(module, globs={"fn": fn, "np": np})
    return [example for example in examples if example.examples]


@pytest.mark.parametrize("example", docstring_examples(), ids=lambda example: example.name)
def test_docstrings(example):
    with skip_what_is_missing():
        doctest.DebugRunner().run(example)


def test_the_reference_is_complete():
    """Every public name stands in docs/reference, or is in the members of a module that does."""
    reference = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "reference").glob("*.rst"))
    listed = {name.rpartition(".")[2] for name in re.findall(r"auto\w+:: ([\w.]+)", reference)}
    for name in re.findall(r"automodule:: ([\w.]+)\n   :members:", reference):
        listed.update(importlib.import_module(name).__all__)
    missing = {name for name in fn.__all__ if name not in listed and not inspect.ismodule(getattr(fn, name))}
    assert missing == {"__version__"}


def test_a_wrong_output_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 2"):
        run(page)


def test_pictures(tmp_path):
    """The script draws what the pages show."""
    subprocess.run([sys.executable, ROOT / "docs" / "pictures.py", tmp_path], check=True)
    drawn, kept = ({path.name for path in folder.iterdir()} for folder in (tmp_path, ROOT / "docs/pictures"))
    assert drawn == kept
    for name in ("tutorial.md", "tutorial_zh.md"):
        shown = re.findall(r"\(pictures/(\w+\.svg)\)", (ROOT / "docs" / name).read_text(encoding="utf-8"))
        assert sorted(shown) == sorted(kept)
