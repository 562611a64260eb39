"""The pocket tokenizer is a real CLIP tokenizer that knows the world's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption, format_caption
from vader_bench.pretrain.tokenizer import MAX_TOKENS, STYLE_WORDS, make_tokenizer, tokenise


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_every_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    words = {
        word for phrase in (*COLOURS, *NOUNS, *ACTIONS, *SCENES, *STYLE_WORDS) for word in phrase.split()
    }
    for word in words:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_every_call_gives_the_same_numbers(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    for place in map(str, range(5)):
        assert make_tokenizer(tmp_path / place).get_vocab() == tokenizer.get_vocab()


def test_unknown_text_is_spelt_without_an_unknown_token(tokenizer: CLIPTokenizer) -> None:
    text = "zebra Wörld"
    assert tokenizer.unk_token_id not in tokenizer(text).input_ids[1:-1]
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text.lower()


def test_the_longest_caption_fits(tokenizer: CLIPTokenizer) -> None:
    text = format_caption(Caption("orange", "labrador", "moving right", "in the desert", "orange", "book"))
    tokens = tokenise(tokenizer, [text, "a red cat"])
    assert tokens.shape == (2, MAX_TOKENS)
    assert tokens[0].tolist().count(tokenizer.eos_token_id) > 1


def test_it_is_written_and_read_back(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = "an orange labrador moving right at night, hello"
    assert again(text).input_ids == tokenizer(text).input_ids
