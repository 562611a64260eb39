"""Nothing that a stranger may ask for is missing from the documentation, and no name in it is wrong."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic.fields import FieldInfo

from docs import generate
from docs.source import SettingField, class_in, fields, lineage, metrics, registered, settings_of_function
from vader_bench import INTERFACE
from vader_bench.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BROUGHT = ("CONTRIBUTING.md", "experiments/README.md", "human_eval/README.md", "results/README.md")
"""Documents elsewhere that are pages of the site too; the changelog may name what is gone."""
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", *(ROOT / name for name in BROUGHT)])
_FOLDERS = ("vader_bench", "tests", "experiments", "docs", "human_eval/studies", "results/reference")
NAMED = re.compile(rf"`((?:{'|'.join(_FOLDERS)})/[^`<>*\s]*)`")


def text_of(name: str) -> str:
    """Return a page as a reader of the site gets it."""
    return generate.filled((DOCS / name).read_text("utf-8"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fenced(path: Path, language: str) -> Iterator[str]:
    block = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    yield from block.findall(path.read_text("utf-8"))


# --- everything has its place ---


def test_every_method_has_a_page_with_all_that_a_page_needs() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    table = (DOCS / "methods" / "index.md").read_text("utf-8")
    for name in registered("METHODS"):
        page = (DOCS / "methods" / f"{name}.md").read_text("utf-8")
        assert f"methods/{name}.md" in nav
        assert f"]({name}.md)" in table
        assert "$$" in page
        assert f"<!-- made of the code: settings {name} -->" in page
        assert f"<!-- made of the code: metrics {name} -->" in page
        assert "## What differs from its authors' code" in page


@pytest.mark.parametrize(("table", "page"), [("REWARDS", "rewards.md"), ("BACKBONES", "backbones.md")])
def test_every_family_is_in_the_overview_and_has_a_section(table: str, page: str) -> None:
    text = text_of(page)
    overview = (DOCS / page).read_text("utf-8")
    assert registered(table)
    for name in registered(table):
        assert generate.section(name) in text
        assert f"[`{name}`](#{name.replace('.', '-')})" in overview


def test_every_suite_is_listed_and_so_are_the_licences_of_its_weights() -> None:
    suites, licences = text_of("suites.md"), text_of("rewards.md")
    for path in (ROOT / "vader_bench" / "suites").glob("*.yaml"):
        assert f"| `{path.stem}` |" in suites
        for name in re.findall(r"hf:([^\s,}]+)", path.read_text("utf-8")):
            rows = (f"| `{name}` |", f"| `{name.partition(':')[0]}` |")
            assert any(row in licences for row in rows), f"{name} has no line in weights/known.yaml"


def test_every_suite_has_a_page_with_what_it_needs_and_a_plan() -> None:
    for path in (ROOT / "vader_bench" / "suites").glob("*.yaml"):
        page = DOCS / "suites" / f"{path.stem}.md"
        for part in ("needs", "plan", "suite-file"):
            assert f"<!-- made of the code: {part} {path.stem} -->" in page.read_text("utf-8")
        text = text_of(f"suites/{path.stem}.md")
        assert "Estimates for `fig7`" in text or "Not estimated yet" in text
        for weights in re.findall(r"hf:([^\s,}]+)", path.read_text("utf-8")):
            assert f"`{weights}`" in text


def test_every_experiment_has_a_section_with_its_file() -> None:
    text = generate.experiments()
    for path in (ROOT / "experiments").glob("*.yaml"):
        assert generate.section(path.stem) in text
        assert f"experiments/{path.name}" in text


VERBS = dict(generate.walk(typer.main.get_command(app)))


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_verb_has_a_section_with_every_option(path: tuple[str, ...]) -> None:
    text = text_of("reference/commands.md")
    section = text.split(f"### `{' '.join(path)}` ")[1].split("\n### ")[0]
    for parameter in VERBS[path].params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
        assert all(f"`{name}`" in section for name in names)


def test_every_name_of_the_interface_is_explained_and_no_other_is_used() -> None:
    page = (DOCS / "python.md").read_text("utf-8")
    (table, _), (_, full) = page.split("## Read results"), page.split("## Every name")
    assert [name for name in INTERFACE if f"`{name}`" not in table or name not in full] == []
    examples = "\n".join(fenced(DOCS / "python.md", "python"))
    assert set(re.findall(r"\bvb\.(\w+)", examples)) <= INTERFACE.keys()


def test_every_table_of_a_file_is_explained() -> None:
    text = (DOCS / "reference" / "files.md").read_text("utf-8")
    schema = ast.parse((ROOT / "vader_bench" / "config" / "schema.py").read_text("utf-8"))
    tables = [node.name for node in schema.body if isinstance(node, ast.ClassDef)]
    beside = {"Strict", "Settings", "SuiteChanges", "RunConfig"}  # what no file has as a table of its own
    assert [name for name in tables if name not in beside and f"keys {name} -->" not in text] == []


def test_every_key_and_option_has_a_meaning() -> None:
    for name in ("reference/files.md", "reference/commands.md", "methods/index.md", "backbones.md"):
        rows = [line.split(" | ") for line in text_of(name).splitlines() if line.startswith("| `")]
        empty = [row[0] for row in rows if row[1 if name.endswith("commands.md") else -1].strip(" |") == ""]
        assert empty == [], f"{name} does not say what they are"


# --- what is made of the code is what the code does ---


def _same(shown: SettingField, field: FieldInfo) -> bool:
    if field.is_required():
        return shown.default == ""
    told = yaml.safe_load(shown.default)
    return bool(told == field.default or float(told) == field.default)


def test_settings_read_from_the_source_are_those_of_the_classes() -> None:
    from vader_bench.methods import METHODS

    assert list(registered("METHODS")) == METHODS.names()
    for one in registered("METHODS").values():
        config = METHODS.get(one.name).Config
        classes = lineage(one.path, config.__name__, "MethodConfig")
        shown = {field.name: field for place in reversed(classes) for field in fields(*place)}
        shared = {field.name: field for field in fields(one.path.with_name("base.py"), "MethodConfig")}
        assert {**shared, **shown}.keys() == config.model_fields.keys()
        both = shared | shown
        assert [name for name, field in config.model_fields.items() if not _same(both[name], field)] == []


def test_every_setting_of_a_reward_is_explained() -> None:
    for one in registered("REWARDS").values():
        bare = [setting.name for setting in settings_of_function(one.path, one.cls) if not setting.text]
        assert bare == [], f"{one.cls} does not explain them under Args"


def test_metrics_are_read_row_by_row() -> None:
    one = registered("METHODS")["vader"]
    assert [metric.name for metric in metrics(one.path, one.cls)] == ["k"]
    base = one.path.with_name("reward_gradient.py")
    assert [metric.name for metric in metrics(base, "RewardGradient")] == ["objective"]
    assert class_in(one.path, one.cls).name == "Vader"


def test_a_mark_that_asks_for_nothing_known_is_refused() -> None:
    with pytest.raises(LookupError):
        generate.filled("<!-- made of the code: settings nothing -->")


# --- nothing is wrong by name ---


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of every call of vader-bench that a page shows, in blocks and in sentences."""
    text = path.read_text("utf-8")
    inline = re.findall(r"(?<!`)`(vader-bench [^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [*(line for block in fenced(path, r"(?:sh)?") for line in block.splitlines()), *inline]:
        for call in re.findall(r"(?:^|&& )(vader-bench .*?)(?=$| && )", line.split("   #")[0].strip()):
            if "..." not in call and "[" not in call:
                yield shlex.split(re.sub(r"<[^>]*>", "given", re.sub(r"\bN\b", "1", call)), comments=True)[1:]


def parsed(words: list[str]) -> None:
    """Parse a call as the command line does, without running it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        assert words in ([], ["--help"], ["--version"]), f"no verb: {words}"
    elif words:  # without any, a verb is mentioned
        command.make_context("vader-bench", list(words))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_that_is_shown_can_be_given(path: Path) -> None:
    for words in commands(path):
        parsed(words)


def test_commands_are_found_and_wrong_ones_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "```sh\npip install . && vader-bench run b\n```\n"
    page.write_text(f"`vader-bench plan a.yaml --gpu t4` and\n\n{block}", "utf-8")
    assert list(commands(page)) == [["run", "b"], ["plan", "a.yaml", "--gpu", "t4"]]
    with pytest.raises(Exception, match="No such option"):
        parsed(["run", "fig7", "--learning-rate", "1"])
    with pytest.raises(AssertionError, match="no verb"):
        parsed(["train", "fig7"])


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_file_that_is_named_exists(path: Path) -> None:
    for name in NAMED.findall(path.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{named(path)} names {name}"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_no_link_leads_to_a_folder(path: Path) -> None:
    """GitHub shows a folder; the site has none, and its strict build fails."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)\s#]+)", path.read_text("utf-8"))
    assert [link for link in links if (path.parent / link).is_dir()] == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_example_can_be_read(path: Path) -> None:
    for code in fenced(path, "python"):
        ast.parse(code)
    for text in fenced(path, "yaml"):
        assert isinstance(yaml.safe_load(text), dict)


def test_the_readme_is_short_and_everything_it_was_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert [page for page in pages if page not in nav] == []


def test_every_entry_of_the_navigation_is_a_page() -> None:
    _, _, nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")
    brought = set(re.findall(r': "([\w-]+\.md)"', (DOCS / "hooks.py").read_text("utf-8")))
    entries = re.findall(r"[\w./-]+\.md", nav)
    assert len(entries) > 20
    assert [entry for entry in entries if entry not in brought and not (DOCS / entry).exists()] == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra `docs`")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """Of a page of results the pictures are there, which no page but that one links to."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr[-3000:]
    assert (tmp_path / "site/repository/results/reference/tune-methods/pocket/trials.png").is_file()


def test_the_citation_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert version is not None
    assert citation["version"] == version[1]
    assert f"version = {{{version[1]}}}" in (ROOT / "README.md").read_text("utf-8")
