"""The rules of the house that no linter knows: sizes, names, outermost edges, no private path."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("assistant", "agents", "knowledge", "ui")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7

# The outermost edges: nothing stands above them that could turn an error into a sentence for a person.
BROAD_EXCEPT_ALLOWED = {
    "agents/analyzers/registry.py:run": "a check with a bug is reported as not checked; it must not cost the answer",
    "agents/turn.py:run_and_record": "the edge of a turn: whatever breaks ends it in an error event and is recorded",
    "ui/chat/page.py:on_message": "the edge of a message: Chainlit would show the exception itself",
    "ui/cli/main.py:run": "the edge of a process: a sentence and an exit code instead of a stack trace",
}

# Folders of one machine, and package indexes that only a company's own network knows.
PRIVATE_PATH = re.compile(r"(?<![\w.])/(?:work|root|Users/\w+|home/\w+)/")
PRIVATE_INDEX = re.compile(r"\b(?:pypi|registry|mirror|artifactory|nexus|harbor)[\w.-]*\.(?:internal|corp|lan)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[Function, bool]]:
    """Every function of a module, and whether it is a method."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    methods = {id(child) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node, id(node) in methods


def parameters(function: Function, is_method: bool) -> int:
    """How many values a caller may pass: without self or cls; `*args` and `**kwargs` are one open list, not counted."""
    spec = function.args
    names = [parameter.arg for parameter in (*spec.posonlyargs, *spec.args)]
    if is_method and names and names[0] in ("self", "cls"):
        names = names[1:]
    return len(names) + len(spec.kwonlyargs)


def is_broad(expression: ast.expr | None) -> bool:
    """Whether `except EXPRESSION` catches everything, LangGraph's interrupts included."""
    if expression is None:
        return True
    if isinstance(expression, ast.Tuple):
        return any(is_broad(element) for element in expression.elts)
    return isinstance(expression, ast.Name) and expression.id in ("Exception", "BaseException")


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler only cleans up and raises the same exception again; then it swallows nothing."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def broad_excepts(path: Path) -> list[str]:
    """`package/module.py:function` of each place that may swallow any exception; `<module>` outside of functions."""
    found: list[str] = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, Function):
            function = node.name
        swallows = isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not passes_on(node)
        suppresses = (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("suppress", "contextlib.suppress")
            and any(is_broad(argument) for argument in node.args)
        )
        if swallows or suppresses:
            found.append(f"{relative(path)}:{function}")
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text(encoding="utf-8")), "<module>")
    return found


def test_the_tree_is_seen() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)


def test_modules_are_short() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{relative(path)}:{function.name}": (function.end_lineno or function.lineno) - function.lineno + 1
        for path in MODULES
        for function, _ in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_functions_take_few_parameters() -> None:
    counts = {
        f"{relative(path)}:{function.name}": parameters(function, is_method)
        for path in MODULES
        for function, is_method in functions(path)
    }
    assert {name: count for name, count in counts.items() if count > MAX_PARAMETERS} == {}


def test_modules_open_with_a_docstring() -> None:
    def is_silent(path: Path) -> bool:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        return bool(tree.body) and ast.get_docstring(tree) is None

    assert [relative(path) for path in MODULES if is_silent(path)] == []


def test_only_the_outermost_edges_swallow_any_exception() -> None:
    found = {place for path in MODULES for place in broad_excepts(path)}
    assert found - set(BROAD_EXCEPT_ALLOWED) == set()
    assert set(BROAD_EXCEPT_ALLOWED) - found == set(), "an edge that is gone must leave the list"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_resolve_under_the_project_root(package: str) -> None:
    # `openai-agents` for one owns a top-level package `agents`, which would win over ours in some installations.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT / package)


def test_no_dependency_owns_one_of_our_packages() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {package: owners[package] for package in PACKAGES if set(owners.get(package, [])) - {"kubechat"}} == {}


def test_nothing_under_ui_bears_the_name_of_a_library() -> None:
    # Chainlit puts the folder of its target first on sys.path, where such a module would hide the library.
    libraries = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    ours = {path.stem if path.is_file() else path.name for path in (ROOT / "ui").iterdir()} - {
        "__init__",
        "__pycache__",
    }
    assert ours & libraries == set()


def test_no_module_names_a_private_path_or_index() -> None:
    found = [
        f"{relative(path)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PRIVATE_PATH.search(line) or PRIVATE_INDEX.search(line)
    ]
    assert found == []


def test_every_data_file_is_part_of_the_distribution() -> None:
    # setuptools ships only what matches; a prompt or a model that is left out is missed first on a user's machine.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    data = [path for path in files if path.suffix not in (".py", ".pyc") and path.name != ".DS_Store"]
    assert [relative(path) for path in data if not any(path.match(pattern) for pattern in patterns)] == []
