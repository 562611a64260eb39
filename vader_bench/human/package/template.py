"""The page that raters see: one template, as a fragment for a batch and as a whole document for the API.

Both are in Amazon Mechanical Turk's formats. The service is closed; Turkle runs the fragment unchanged.
Fields of a batch, ``${name}``, are replaced by plain text search, without any escaping and one after the
other, so that data with a script or a field in it would come alive: all data of a block is one cell of JSON
in which no such character is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup, escape

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.config import StudyConfig, block_cost
from vader_bench.report.html import render

__all__ = ["FIELDS", "LIMIT", "encode_cell", "fragment", "page_data", "question_xml"]

FIELDS: Final = ("block_id", "block_json")
"""Columns of the input file, each of which the fragment has a field for."""
LIMIT: Final = 65_535
"""Most bytes of a question's XML (botocore's model of MTurk); Turkle takes as many of a template."""
SUBMIT_TO: Final = "https://www.mturk.com/mturk/externalSubmit"
_NAMESPACE = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2011-11-11/HTMLQuestion.xsd"
_FOLDER = Path(__file__).parent / "templates"
_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&'$"})


def encode_cell(data: Mapping[str, Any]) -> str:
    r"""Return ``data`` as one line of ASCII JSON that can stand in a CSV cell, a script element and a field.

    The five characters ``< > & ' $`` are written as ``\uXXXX``, so that it neither closes an element nor is
    expanded; it starts with a brace, so that no spreadsheet takes it for a formula.

    Raises:
        ValueError: ``data`` holds a NaN or an infinity.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def page_data(study: StudyConfig, items: Sequence[tuple[str, str, str, str]]) -> dict[str, Any]:
    """Return the data of one block.

    Args:
        study: the study.
        items: id, prompt and the files of the left and the right video.
    """
    options = [["L", "Left"], ["R", "Right"]]
    if study.ties:
        options.insert(1, ["T", "About the same"])
    return {
        "questions": [
            {"id": question.id, "text": question.text, "options": options} for question in study.questions
        ],
        "items": [
            {"id": name, "prompt": prompt, "src": [study.video_url + left, study.video_url + right]}
            for name, prompt, left, right in items
        ],
    }


def fragment(study: StudyConfig, pairs: int) -> str:
    """Return the template of a batch: no form, no document, one field for each column of the input file.

    Args:
        study: the study.
        pairs: how many pairs a block shows at most.

    Raises:
        UserError: it is too long.
    """
    page = _render(study, pairs, document=False, block_id="${block_id}", block_json="${block_json}")
    fields = set(re.findall(r"\$\{([^}]*)\}", page))
    assert fields == set(FIELDS), fields
    _check_size(page, f"study {study.study}: the template")
    return page


def question_xml(study: StudyConfig, pairs: int, block_id: str, block_json: str) -> str:
    """Return the HTMLQuestion of one block: a whole document with the data of the block in it.

    Args:
        study: the study.
        pairs: how many pairs a block shows at most.
        block_id: its id.
        block_json: its data, from ``encode_cell``.

    Raises:
        UserError: it is longer than 65,535 bytes.
    """
    page = _render(study, pairs, document=True, block_id=block_id, block_json=block_json)
    content = page.replace("]]>", "]]]]><![CDATA[>")
    question = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<HTMLQuestion xmlns="{_NAMESPACE}">\n'
        f"<HTMLContent><![CDATA[\n{content}]]></HTMLContent>\n<FrameHeight>0</FrameHeight>\n</HTMLQuestion>\n"
    )
    _check_size(question, f"study {study.study}: block {block_id}")
    return question


def _check_size(text: str, given: str) -> None:
    size = len(text.encode())
    if size > LIMIT:
        wrong = f"makes a page of {size} bytes, more than the {LIMIT} that are allowed"
        raise UserError(given, wrong, "shorten instructions, consent or prompts, or lower blocks.items")


def _render(study: StudyConfig, pairs: int, *, document: bool, block_id: str, block_json: str) -> str:
    """Return the page. ``block_json`` and the package's own script and style are the only raw text in it."""
    script, style = (files.read_text(_FOLDER / f"task.{kind}") for kind in ("js", "css"))
    _, seconds = block_cost(study, pairs)
    values = {
        "document": document,
        "policy": _policy(script, style, study.video_url),
        "submit_to": SUBMIT_TO,
        "title": study.title,
        "consent": study.consent,
        "instructions": study.instructions.splitlines(),
        "pairs": pairs,
        "minutes": f"{max(1, round(seconds / 60))} minutes" if seconds >= 90 else "one minute",
        "pay": f"{study.pay.reward:.2f} {study.pay.currency}",
        "block_id": Markup(block_id),  # noqa: S704 -- a field, or hexadecimal digits
        "block_json": Markup(block_json),  # noqa: S704 -- a field, or encoded by encode_cell
        "script": Markup(script),  # noqa: S704 -- of this package
        "style": Markup(style),  # noqa: S704 -- of this package
    }
    return render(_FOLDER / "task.html.j2", values, _without_fields)


def _without_fields(value: Any) -> Any:
    """Return a value as the page shows it: a dollar sign of the study's own text never begins a field."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return Markup(str(escape(value)).replace("$", "&#36;"))  # noqa: S704 -- escaped here


def _policy(script: str, style: str, video_url: str) -> str:
    """Return the content security policy of the document: this script, this style, videos, nothing else."""
    parts = [
        "default-src 'none'",
        f"script-src {_hashed(script)}",
        f"style-src {_hashed(style)}",
        f"media-src {video_url if ':' in video_url else chr(39) + 'self' + chr(39)}",
        "form-action https://www.mturk.com https://workersandbox.mturk.com",
    ]
    return "; ".join(parts)


def _hashed(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
