"""A tokenizer is read whole, or refused in one line that names the file."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from transformers import CLIPTokenizer, CLIPTokenizerFast
from transformers.utils import logging as notes

from vader_bench import pocket
from vader_bench.errors import UserError
from vader_bench.prompts.sets import load_prompts
from vader_bench.weights.tokenizers import clip_counter, quiet_transformers, read_tokenizer

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


def test_quiet_ends_even_after_an_error() -> None:
    verbosity = notes.get_verbosity()
    assert notes.is_progress_bar_enabled()
    seen = []

    def fail() -> None:
        with quiet_transformers():
            seen.append((notes.get_verbosity(), notes.is_progress_bar_enabled()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [(logging.ERROR, False)]
    assert notes.get_verbosity() == verbosity
    assert notes.is_progress_bar_enabled()


def test_tokens_are_counted_as_clips_tokenizer_does() -> None:
    folder = CLIP.parent / "text-to-video" / "tokenizer"
    sets = [load_prompts(name) for name in ("pocket", "pocket-looks", "pocket-books", "activities")]
    prompts = [prompt for each in sets for split in each.splits.values() for prompt in split]
    prompts += ["", "A  Zebra", "zyzzyva qoph of the fjord", "it's 3 o'clock", "a caf\u00e9", "one, two."]
    count, tokenizer = clip_counter(folder), CLIPTokenizer.from_pretrained(folder)
    found = {prompt: count(prompt) for prompt in prompts}
    known = {prompt: number for prompt, number in found.items() if number is not None}
    assert known == {prompt: len(tokenizer(prompt).input_ids) for prompt in known}
    assert {"it's 3 o'clock", "a caf\u00e9", "one, two."}.isdisjoint(known)
    assert len(known) > 300
