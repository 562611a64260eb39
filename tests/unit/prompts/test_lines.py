"""Files of prompts, one a line, with what prompts have beside their text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vader_bench.errors import UserError
from vader_bench.prompts.lines import PromptDetails, read_lines
from vader_bench.prompts.sets import load_prompts


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n\n" for line in lines), "utf-8")
    return path


def test_a_line_may_have_a_negative_prompt_and_a_picture(tmp_path: Path, picture: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"prompt": "a  cat", "negative_prompt": "blurry", "image": "cat.png"},
        {"prompt": "a dog"},
    )
    found = load_prompts(str(path))
    assert found.splits == {"train": ["a cat", "a dog"]}
    assert found.details == {"a cat": PromptDetails("blurry", picture)}
    assert found.lines == {"train": [1, 3]}
    assert found.place("train", 1) == "train, prompt 2 (line 3)"


def test_the_digest_is_that_of_plain_text_until_there_is_more(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "plain.txt").write_text("a cat\n", "utf-8")

    def digest(**more: str) -> str:
        return load_prompts(str(write(tmp_path / "a.jsonl", {"prompt": "a cat"} | more))).digests()["train"]

    assert digest() == load_prompts(str(tmp_path / "plain.txt")).digests()["train"]
    seen = {digest(), digest(negative_prompt="a dog"), digest(image="cat.png")}
    Image.new("RGB", (4, 4), "blue").save(picture)
    assert len(seen | {digest(image="cat.png")}) == 4


def test_a_folder_and_a_table_of_splits_take_such_files(tmp_path: Path) -> None:
    write(tmp_path / "heldout.jsonl", {"prompt": "a dog", "negative_prompt": "grey"})
    (tmp_path / "train.txt").write_text("a cat\n", "utf-8")
    (tmp_path / "set.yaml").write_text("splits: {train: train.txt, heldout: heldout.jsonl}\n", "utf-8")
    for name in (tmp_path, tmp_path / "set.yaml"):
        found = load_prompts(str(name))
        assert found.splits == {"train": ["a cat"], "heldout": ["a dog"]}
        assert found.details == {"a dog": PromptDetails("grey", None)}
    write(tmp_path / "train.jsonl", {"prompt": "a bird"})
    with pytest.raises(UserError, match=r"holds train\.txt and train\.jsonl; delete one"):
        load_prompts(str(tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: is not JSON"),
        ("[" * 100_000, "line 1: is nested too deep"),
        ('{"prompt": "half a \\ud800"}', "line 1: has half a character in it"),
        ('"a cat"', "line 1: is not a table"),
        ('{"negative_prompt": "grey"}', "line 1: prompt: is missing"),
        ('{"prompt": 3}', "line 1: prompt: is 3, not"),
        ('{"prompt": "a", "negativ_prompt": "b"}', "did you mean 'negative_prompt'"),
        ('{"prompt": "a", "image": "none.png"}', r"line 1: image: is 'none.png', which is no file"),
        ('{"prompt": ""}', r"train, prompt 1: says nothing"),
    ],
)
def test_faulty_lines_are_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(line, "utf-8")
    with pytest.raises(UserError, match=message):
        load_prompts(str(tmp_path / "a.jsonl"))


def test_text_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{"prompt": "a"}\n', "utf-8")
    [line] = read_lines(tmp_path / "a.txt")
    assert (line.prompt, line.details) == ('{"prompt": "a"}', None)
