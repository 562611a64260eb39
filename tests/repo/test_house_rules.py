"""The repository keeps its own rules."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vader_bench"
DOCS = ROOT / "docs"
SOURCES = sorted(PACKAGE.rglob("*.py"))
NO_TORCH = ("stats", "report", "human")
"""Packages that rebuild every table on a laptop."""
FLOORS = (
    ("__main__",),
    ("cli", "gpu_check", "pretrain"),
    ("interface",),
    ("cost", "launch"),
    ("experiment", "human", "training"),
    ("evaluation", "methods", "report"),
    ("budget",),
    ("backbones", "stats"),
    ("rewards",),
    ("prompts", "records", "weights"),
    ("config", "diffusion"),
    ("files", "registry", "videos", "world"),
    ("__init__", "errors", "plainjson", "pocket", "seeding"),
)
"""Every room of the package, a folder or a module beside the folders: it imports from lower floors alone."""
SITE = PACKAGE / "human" / "serving" / "study_site"
"""A program of its own, started in its own environment: it imports nothing from the rest of the package."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    """Return the folder below the package that ``path`` stands in, or its own name where it is in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


ROOMS = {room(path) for path in SOURCES}


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the source of ``path``, parsed once for all tests."""
    return ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    tree = tree_of(path)
    assert len(path.read_text("utf-8").splitlines()) <= 400
    assert ast.get_docstring(tree), "a module starts with a sentence on what it is"
    long = [node.name for node in functions(tree) if (node.end_lineno or 0) - node.lineno >= 60]
    assert long == []


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.name.startswith("__")], ids=named)
def test_a_module_names_what_it_offers(path: Path) -> None:
    tree = tree_of(path)
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert "__all__" in names


def test_a_class_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(named(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("path", [p for p in SOURCES if room(p) in NO_TORCH], ids=named)
def test_statistics_and_reports_never_import_torch(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [m for m in modules if m.split(".")[0] in {"torch", "diffusers", "transformers", "trl"}]


def modules_of(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the modules that ``nodes`` import themselves, not below them."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_ray_is_imported_where_runs_go_to_a_cluster_and_nowhere_else() -> None:
    trees = {named(path): tree_of(path) for path in SOURCES}
    users = {name for name, tree in trees.items() if {"ray", "ray.exceptions"} & modules_of(ast.walk(tree))}
    assert users == {"vader_bench/launch/ray.py"}
    early = {"ray", "ray.exceptions", "vader_bench.launch.ray"}
    assert [name for name, tree in trees.items() if early & modules_of(tree.body)] == []


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the room of each import from this package, late ones and those for types among them."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for parts in (name.split(".") for name in names):
            if parts[0] == PACKAGE.name:
                yield parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__"


def test_imports_are_written_in_full() -> None:
    sources = [path for path in SOURCES if path.parent != SITE]
    trees = {path: ast.walk(tree_of(path)) for path in sources}
    nodes = [(path, node) for path, tree in trees.items() for node in tree]
    assert [named(path) for path, node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_every_room_has_a_floor() -> None:
    listed = [name for floor in FLOORS for name in floor]
    assert sorted(listed) == sorted(ROOMS)


def test_imports_point_one_way() -> None:
    floors = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{named(path)} imports {theirs}"
        for path in SOURCES
        for theirs in imported(tree_of(path))
        if theirs != room(path) and floors[theirs] <= floors[room(path)]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "rooms"),
    [
        ("from vader_bench import files, __version__", ["files", "__init__"]),
        ("from vader_bench.cli import main", ["cli"]),
        ("import numpy, vader_bench.stats.panel as panel", ["stats"]),
        ("def late():\n    from vader_bench.launch.local import launch", ["launch"]),
        ("from vader_benchmarks import files", []),
    ],
)
def test_each_way_to_import_is_judged(line: str, rooms: list[str]) -> None:
    assert list(imported(ast.parse(line))) == rooms


def test_unit_tests_lie_as_the_package_does() -> None:
    unit = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert [folder for folder in sorted(folders) if not (PACKAGE / folder).is_dir()] == []


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    yield from map(Requirement, project["dependencies"])
    for name in ("test", "dev", "docs", "publish", "ray"):
        yield from map(Requirement, project["optional-dependencies"][name])


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): pinned for name, pinned in pairs}


@pytest.mark.parametrize("requirement", list(requirements()), ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    pinned = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned, prereleases=True)


@pytest.mark.parametrize("name", ["torch", "trl", "diffusers", "transformers", "peft", "mlflow", "numpy"])
def test_the_tests_run_with_the_pinned_versions(name: str) -> None:
    assert version(name).split("+")[0] == pins()[name]


def test_the_jobs_that_the_readme_names_exist() -> None:
    text = (ROOT / "noxfile.py").read_text("utf-8")
    sessions = {
        *re.findall(r'name="([\w-]+)"', text),
        *re.findall(r'^    "([\w-]+)": [("]', text, re.MULTILINE),
    }
    sessions |= {node.name for node in functions(ast.parse(text)) if node.decorator_list}
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *DOCS.rglob("*.md")]
    named_there = {
        name for path in documents for name in re.findall(r"nox -s ([\w-]+)", path.read_text("utf-8"))
    }
    assert named_there
    assert named_there <= sessions


def test_every_experiment_has_a_job_and_a_line_in_the_list() -> None:
    names = {path.stem for path in (ROOT / "experiments").glob("*.yaml")}
    jobs = (ROOT / "noxfile.py").read_text("utf-8")
    listed = (ROOT / "experiments" / "README.md").read_text("utf-8")
    assert [name for name in sorted(names) if not re.search(rf'"{name}"|/{name}\.yaml', jobs)] == []
    assert [name for name in sorted(names) if f"`{name}.yaml`" not in listed] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "nox -s tests" in (ROOT / "README.md").read_text("utf-8")
    assert "nox -s tests" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_metric_that_is_logged_is_explained() -> None:
    page = (DOCS / "mlflow.md").read_text("utf-8")
    logged = {"reward", "loss", "grad_norm"}
    for path in (PACKAGE / "methods").glob("*.py"):
        for table in re.findall(r"=+ =+\n(.*?)\n\s*=+ =+\n", path.read_text("utf-8"), re.DOTALL):
            logged |= {line.split()[0] for line in table.splitlines() if re.match(r"    \w+ ", line)}
    assert len(logged) > 10
    assert [name for name in sorted(logged) if f"`train/{name}`" not in page] == []


def test_every_field_of_the_ledger_is_explained() -> None:
    from vader_bench.budget.ledger import Ledger

    page = (DOCS / "mlflow.md").read_text("utf-8")
    names = {"queries" if name == "reward_queries" else name for name in Ledger().as_dict()}
    assert [name for name in sorted(names) if f"`ledger/{name}`" not in page] == []


DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(p.startswith(".") for p in path.parts))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_between_files_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8"))
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (path.parent / target).exists()] == []
