"""What to run while working on fusednet: ``nox -s tests``, ``nox -s cpp``; ``nox -l`` lists all."""

import nox

nox.options.sessions = ["lint", "types", "tests", "cpp"]


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Install with the test extra and run pytest; PyTorch, ONNX and Keras too where they are to be had."""
    session.install(".[test]")
    if session.python == "3.11":
        session.install("torch", "onnx", "onnxruntime", "keras")
    session.run("pytest", "-n", "auto", *session.posargs, env={"KERAS_BACKEND": "torch"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting of Python and C++."""
    session.install("--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = session.run("git", "ls-files", "*.cpp", "*.h", "*.inl", external=True, silent=True)
    session.run("clang-format", "--dry-run", "-Werror", *sources.split())


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy --strict on the package."""
    session.install("--group", "lint", "numpy")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into docs/_build."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build")


@nox.session(python=False)
@nox.parametrize("preset", ["dev", "asan", "tsan", "aarch64"])
def cpp(session: nox.Session, preset: str) -> None:
    """Build the core without Python and run its tests."""
    session.run("cmake", "--preset", preset)
    session.run("cmake", "--build", "--preset", preset, "-j2")
    session.run("ctest", "--preset", preset)


@nox.session(python=False)
def tidy(session: nox.Session) -> None:
    """Build under clang-tidy."""
    session.run("cmake", "--preset", "tidy")
    session.run("cmake", "--build", "--preset", "tidy", "-j2")
