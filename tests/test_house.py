"""The house: what keeps the tree easy to enter, as rules over its files."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 60

STEPS = frozenset(
    {
        *("acknowledge", "check", "collect", "compose", "diff", "enrich", "mark", "post", "prune"),
        *("publish", "query", "record", "report", "score", "settle"),
    }
)
NO_STEPS = frozenset({"errors", "secrets", "settings"})
"""What every folder of tasks/ may need."""

UNREASONED = re.compile("# no" r"qa(?!: [A-Z]+\d+(, [A-Z]+\d+)* - [\w`])")
"""Written so that it does not find itself."""

SAME_NAME = {
    "check": "the command `beaconhunt check`, and the step that it runs",
    "commands": "every module of flows/cli lists its commands under this name",
    "main": "of a program: the command line, and the fleet's generator",
    "prune": "the commands `history prune` and `archive prune`, and the step of the flow",
    "query": "the command `beaconhunt query`, and the step of a run",
    "serve_archive": "the command `beaconhunt serve-archive`, and what it runs",
}
"""Names that stand in several modules, and why that confuses no one."""


def modules() -> list[Path]:
    """The product's own modules; a migration stays as it was released."""
    found = [path for part in ("flows", "tasks") for path in sorted((ROOT / part).rglob("*.py"))]
    return [path for path in found if "versions" not in path.parts]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(path: Path) -> Iterator[str]:
    """The names that a module defines for others: classes, functions, constants and types."""
    for node in tree(path).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def test_only_steps_and_what_all_need_are_flat():
    """A noun stands in a folder."""
    assert {path.stem for path in (ROOT / "tasks").glob("[!_]*.py")} == STEPS | NO_STEPS


def test_a_public_name_means_one_thing():
    """Whoever reads an import knows what it is."""
    places = defaultdict(list)
    for path in modules():
        for name in set(public_names(path)):
            places[name].append(path.relative_to(ROOT).as_posix())
    several = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in SAME_NAME} == {}
    assert set(SAME_NAME) <= set(several)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_fits_a_reader(path):
    """Neither it nor a function in it is too long to be read at once."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES
    functions = (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef))
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("part", ["flows", "tasks", "tests"])
def test_an_exception_from_the_rules_has_a_reason(part):
    """The code of the rule, a dash, and why."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNREASONED.search(line)
    ]
    assert found == []
