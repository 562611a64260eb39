"""A tokenizer is read whole, or refused in one line that names the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import CLIPTokenizer, CLIPTokenizerFast

from vader_bench import pocket
from vader_bench.errors import UserError
from vader_bench.weights.tokenizers import read_tokenizer

CLIP = Path(pocket.__file__).parent / "weights" / "clip"
FILES = ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a real tokenizer."""
    for name in FILES:
        shutil.copy(CLIP / name, tmp_path / name)
    return tmp_path


def test_a_whole_one_is_read(folder: Path) -> None:
    ours, theirs = read_tokenizer(folder, CLIPTokenizer), CLIPTokenizer.from_pretrained(CLIP)
    words = ["a red cat runs", "two dogs and a book, x!"]
    assert ours(words).input_ids == theirs(words).input_ids


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_file_that_was_cut_is_named(folder: Path, name: str, share: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=name) as caught:
        read_tokenizer(folder, CLIPTokenizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
@pytest.mark.parametrize("content", ["[]", "3", "null", '["a"]'])
def test_a_file_of_another_form_is_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name}: is not a table"):
        read_tokenizer(folder, CLIPTokenizer)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"version": "1.0", "model": 3}']
)
def test_what_the_library_cannot_read_is_one_line(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizerFast"}))
    with pytest.raises(UserError, match="tokenizer") as caught:
        read_tokenizer(folder, CLIPTokenizerFast)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_holds_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded as a tokenizer"):
        read_tokenizer(tmp_path, CLIPTokenizer)
