"""What mkdocs does beside rendering: fills pages from the code, brings other documents, sets formulas.

Nothing on a page may be loaded from another site: the build fails if something is.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parents[1]))  # mkdocs knows this folder alone

from docs.generate import MARK, filled

__all__ = ["on_files", "on_page_content", "on_page_markdown", "on_post_build"]

ROOT = Path(__file__).parents[1]
BROUGHT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "experiments/README.md": "experiments.md",
    "human_eval/README.md": "human-studies.md",
    "results/README.md": "committed-results.md",
    "vader_bench/pocket/weights/MODEL_CARD.md": "model-card.md",
}
"""Documents that stand elsewhere in the repository, and the pages that they become."""
ADDED = {"experiments.md": "\n\n## Every file\n\n<!-- made of the code: experiments -->\n"}
"""What such a page has at its end beside the document."""
REPOSITORY = "repository/"
"""Where on the site other files of the repository are."""
READ_AS_TEXT = (".csv", ".py", ".toml", ".yaml", "LICENSE")
"""Ends of names of files that a browser would offer for download by themselves."""
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)")
_RST_TABLE = re.compile(r"<p>=+ =+\n(.*?)\n=+ =+</p>", re.DOTALL)
"""How docstrings write tables."""
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|"""
    r"""<link\b(?![^>]*rel=["']?(?:canonical|alternate))[^>]*\bhref=["']?(?:https?:)?//|"""
    r"""@import[^;]*//|url\(["']?(?:https?:)?//"""
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the repository that are pages, and every file that any page links to."""
    for source, page in BROUGHT.items():
        text = (ROOT / source).read_text("utf-8") + ADDED.get(page, "")
        files.append(File.generated(config, page, content=text))
    pages = list(files.documentation_pages())
    while pages:
        file = pages.pop()
        for path in _outside(_source_of(file), filled(file.content_string)):
            if files.get_file_from_path(_place(path)) is None:
                added = File.generated(config, _place(path), abs_src_path=str(ROOT / path))
                files.append(added)
                pages += [added] if added.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill the marks of a page, and lead its links to where files are on the site."""
    del config, files
    source = _source_of(page.file)
    if page.file.src_uri.startswith(REPOSITORY):
        page.meta["search"] = {"exclude": True}  # tables of results would bury what is searched for
    try:
        text = filled(markdown)
    except (LookupError, OSError) as error:
        raise PluginError(f"{source}: {error}") from error
    if re.search(r"^\s*<!-- made of the code:", MARK.sub("", text), re.MULTILINE):
        raise PluginError(f"{source}: a mark is not written as those that are filled")

    def led(link: re.Match[str]) -> str:
        path = _of_repository(source, link[1])
        target = BROUGHT.get(path) or (_place(path) if (ROOT / path).exists() else link[1])
        if path.startswith("docs/"):
            target = path.removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return _LINK.sub(led, text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Set formulas as MathML, which browsers draw by themselves, and the tables of docstrings as tables."""
    del page, config, files

    def drawn(formula: re.Match[str]) -> str:
        latex = formula[2].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return str(convert(latex, display="block" if formula[1] == "div" else "inline"))

    def as_table(table: re.Match[str]) -> str:
        rows = [line.split(maxsplit=1) for line in table[1].splitlines()]
        cells = (f"<tr><td><code>{name}</code></td><td>{text}</td></tr>" for name, text in rows)
        return f"<table><tbody>{''.join(cells)}</tbody></table>"

    return _RST_TABLE.sub(as_table, _FORMULA.sub(drawn, html))


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site of which a page or a style loads something from elsewhere."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in {".html", ".css"} and (found := _LOADED.search(path.read_text("utf-8"))):
            raise PluginError(f"{path} loads from elsewhere: {found[0][:120]}")


def _source_of(file: File) -> str:
    """Return the path in the repository of what a page is made of."""
    if file.src_uri.startswith(REPOSITORY):
        return file.src_uri.removeprefix(REPOSITORY)
    pages = {page: source for source, page in BROUGHT.items()}
    return pages.get(file.src_uri, f"docs/{file.src_uri}")


def _of_repository(source: str, link: str) -> str:
    """Return the path in the repository of what ``link`` in the document ``source`` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _outside(source: str, text: str) -> list[str]:
    """Return the files outside of the documentation that the document ``source`` links to."""
    paths = {_of_repository(source, link) for link in _LINK.findall(text)}
    return sorted(
        path
        for path in paths
        if path not in BROUGHT and not path.startswith("docs/") and (ROOT / path).is_file()
    )


def _place(path: str) -> str:
    """Return where a file of the repository is on the site."""
    return f"{REPOSITORY}{path}" + (".txt" if path.endswith(READ_AS_TEXT) else "")
