"""The stub of the compiled core says what the core has."""

import ast
import re
from pathlib import Path

import pytest

import fusednet as fn
from fusednet import _core

STUB = ast.parse((Path(fn.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
TYPES_ONLY = {"BuildInfo", "OptimizerState"}  # typed dictionaries, which are plain ones at run time


def members(node):
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef)}


def stub_parameters(node):
    arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
    return [name for name in arguments if name != "self"], [a.arg for a in node.args.kwonlyargs]


def core_parameters(function):
    """Read the parameters off the signature that pybind11 writes into the docstring."""
    text = re.search(r"\((.*)\) -> ", function.__doc__.splitlines()[0])[1]
    text = re.sub(r"\[[^][]*\]", "", re.sub(r"\[[^][]*\]", "", text))  # subscripts of types hold commas too
    names = [part.split(":")[0].strip() for part in text.split(",") if part.strip() not in ("", "/")]
    names = [name for name in names if name != "self"]
    if "*" in names:
        return names[: names.index("*")], names[names.index("*") + 1 :]
    return names, []


def test_the_module_has_a_docstring():
    assert _core.__doc__
    assert ast.get_docstring(STUB)


def test_names():
    public = {name for name in vars(_core) if not name.startswith("_")}
    assert public == (CLASSES.keys() - TYPES_ONLY) | FUNCTIONS.keys()


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - TYPES_ONLY - {"DivergenceError"}))
def test_members(name):
    actual = {member for member in vars(getattr(_core, name)) if not member.startswith("_")}
    assert actual == members(CLASSES[name]) - {"__init__"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_parameters_of_functions(name):
    assert core_parameters(getattr(_core, name)) == stub_parameters(FUNCTIONS[name])


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (owner, item.name)
        for owner in ("Network", "Optimizer")
        for item in CLASSES[owner].body
        if isinstance(item, ast.FunctionDef) and not item.decorator_list
    ],
)
def test_parameters_of_methods(owner, name):
    node = next(n for n in CLASSES[owner].body if isinstance(n, ast.FunctionDef) and n.name == name)
    assert core_parameters(getattr(getattr(_core, owner), name)) == stub_parameters(node)


@pytest.mark.parametrize("owner", ["Network", "Optimizer"])
def test_properties_that_can_be_set(owner):
    decorators = [
        (item.name, ast.unparse(decorator))
        for item in CLASSES[owner].body
        if isinstance(item, ast.FunctionDef)
        for decorator in item.decorator_list
    ]
    for name in {name for name, decorator in decorators if decorator == "property"}:
        settable = (name, f"{name}.setter") in decorators
        assert (getattr(_core, owner).__dict__[name].fset is not None) == settable


def test_build_info_has_the_keys_of_its_type():
    keys = {item.target.id for item in CLASSES["BuildInfo"].body if isinstance(item, ast.AnnAssign)}
    assert fn.build_info().keys() == keys


def test_optimizer_state_has_the_keys_of_its_type():
    keys = {item.target.id for item in CLASSES["OptimizerState"].body if isinstance(item, ast.AnnAssign)}
    net, optimizer = fn.Network([1, 1]), fn.Adam()
    net.train_step([[1.0]], [1.0], optimizer)
    assert net._core.get_optimizer_state(optimizer._core).keys() == keys


def test_the_package_says_that_it_is_typed():
    assert (Path(fn.__file__).parent / "py.typed").exists()
