"""The repository keeps its own rules."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vader_bench"
SOURCES = sorted(PACKAGE.rglob("*.py"))
NO_TORCH = ("stats", "report", "human")
"""Packages that rebuild every table on a laptop."""
LAYERS = (
    ("cli",),
    ("plan",),
    ("launch", "runner", "tune"),
    ("methods", "evaluation"),
    ("metering",),
    ("backbones", "diffusion", "rewards"),
)
"""Modules and packages whose imports point from earlier lines to later ones."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree), "a module starts with a sentence on what it is"
    long = [node.name for node in functions(tree) if (node.end_lineno or 0) - node.lineno >= 60]
    assert long == []


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.name.startswith("__")], ids=named)
def test_a_module_names_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert "__all__" in names


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name in NO_TORCH], ids=named)
def test_statistics_and_reports_never_import_torch(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [m for m in modules if m.split(".")[0] in {"torch", "diffusers", "transformers", "trl"}]


def layer(module: str) -> int | None:
    """Return the line of ``LAYERS`` that ``module``, of this package, stands on."""
    name = module.split(".")[1] if "." in module else ""
    return next((line for line, names in enumerate(LAYERS) if name in names), None)


def imported(path: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    names = (node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))
    return (name for name in names if name.startswith("vader_bench."))


def test_imports_point_one_way() -> None:
    upwards = []
    for path in SOURCES:
        own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imported(path):
            theirs = layer(module)
            if own is not None and theirs is not None and theirs < own:
                upwards.append(f"{named(path)} imports {module}")
    assert upwards == []


def test_unit_tests_lie_as_the_package_does() -> None:
    unit = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert [folder for folder in sorted(folders) if not (PACKAGE / folder).is_dir()] == []


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    yield from map(Requirement, project["dependencies"])
    for name in ("test", "dev"):
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
        *re.findall(r'^    "([\w-]+)": \(', text, re.MULTILINE),
    }
    sessions |= {node.name for node in functions(ast.parse(text)) if node.decorator_list}
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run"]
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
    readme = (ROOT / "README.md").read_text("utf-8")
    logged = {"reward", "loss", "grad_norm"}
    for path in (PACKAGE / "methods").glob("*.py"):
        for table in re.findall(r"=+ =+\n(.*?)\n\s*=+ =+\n", path.read_text("utf-8"), re.DOTALL):
            logged |= {line.split()[0] for line in table.splitlines() if re.match(r"    \w+ ", line)}
    assert len(logged) > 10
    assert [name for name in sorted(logged) if f"`train/{name}`" not in readme] == []


def test_every_field_of_the_ledger_is_explained() -> None:
    from vader_bench.budget.ledger import Ledger

    readme = (ROOT / "README.md").read_text("utf-8")
    names = {"queries" if name == "reward_queries" else name for name in Ledger().as_dict()}
    assert [name for name in sorted(names) if f"`ledger/{name}`" not in readme] == []


DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(p.startswith(".") for p in path.parts))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_between_files_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8"))
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (path.parent / target).exists()] == []
