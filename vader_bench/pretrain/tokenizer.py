"""Small real tokenizers: CLIP's byte-pair encoding and T5's pieces, for the words of the pocket world."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import CLIPTokenizer, T5TokenizerFast
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from vader_bench.files import write_text
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES

__all__ = ["MAX_TOKENS", "STYLE_WORDS", "make_pieces", "make_tokenizer", "tokenise"]

MAX_TOKENS = 24
"""Tokens of a prompt with its start and end, padding included."""
STYLE_WORDS = ("vivid", "dull", "bright", "dark", "sharp", "blurry")
"""Words for how a picture looks; only the reward models' captions use them."""
_END_OF_WORD = "</w>"


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write ``vocab.json`` and ``merges.txt`` to ``folder`` and return the tokenizer that reads them.

    Every word of the world becomes one token; any other text falls back to pieces and bytes.
    """
    corpus = _words()
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    # The trainer numbers the last letters of words in an order of chance and breaks ties by these numbers; a
    # token of its own for each, known beforehand, makes every call give the same merges.
    last = [letter + _END_OF_WORD for letter in sorted({word[-1] for word in corpus})]
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=100_000, end_of_word_suffix=_END_OF_WORD, special_tokens=last, show_progress=False
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + _END_OF_WORD for letter in letters), *("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *(" ".join(m) for m in merges), ""]))
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=MAX_TOKENS)


def make_pieces() -> T5TokenizerFast:
    """Return a T5 tokenizer with one piece a word of the world; any other text falls back to letters."""
    start = "\u2581"  # how SentencePiece marks the beginning of a word
    likely = [(start + word, -1.0) for word in _words()]
    letters = [(letter, -10.0) for letter in (start, *map(chr, range(33, 127)))]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = Tokenizer(models.Unigram([*special, *likely, *letters], unk_id=2))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=pieces, extra_ids=0, model_max_length=MAX_TOKENS)


def _words() -> list[str]:
    world = sorted({w for phrase in (*COLOURS, *NOUNS, *ACTIONS, *SCENES) for w in phrase.split()})
    return [*world, *STYLE_WORDS, "a", "an", "and", "beside", "the", "of", "with"]


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Return token ids [N, L] padded to the full length, as the pipeline does."""
    ids = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    tokens: Tensor = ids.input_ids
    return tokens
