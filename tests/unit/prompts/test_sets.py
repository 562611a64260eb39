"""Prompt sets are checked when they are read, and the training order is the same for every method."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vader_bench.errors import UserError
from vader_bench.prompts.sets import (
    Leak,
    PromptSet,
    known_names,
    leaks,
    load_prompts,
    normalise,
    packaged_names,
    prompt_stream,
    save_prompts,
)


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        ("A Red cat, spinning!", "a red cat spinning"),
        ("  a\tred\u00a0cat \u2014 spinning\n", "a red cat spinning"),
        ("\uff21 red cat", "a red cat"),  # a full-width letter
        ("Ein stra\u00dfenhund", "ein strassenhund"),
        ("caf\u00e9", "caf\u00e9"),
        ("cafe\u0301", "caf\u00e9"),
        ("?!", ""),
    ],
)
def test_normalise(prompt: str, form: str) -> None:
    assert normalise(prompt) == form


def test_normalise_keeps_what_carries_meaning() -> None:
    # vowel signs are marks, not letters, and tell words apart
    assert normalise("\u0915\u093f") != normalise("\u0915\u0940")


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_leaks_names_the_prompt_and_its_splits() -> None:
    found = PromptSet("x", {"train": ["A cat.", "a dog"], "heldout": ["a  CAT", "a cow"], "noun": ["a hen"]})
    assert leaks(found) == [Leak("a cat", ["heldout", "train"])]


def test_digest_of_a_split_depends_on_its_prompts_and_their_order_alone() -> None:
    one = PromptSet("one", {"train": ["a", "b"], "heldout": ["c"]}).digests()
    two = PromptSet("two", {"train": ["b", "a"], "heldout": ["c"]}).digests()
    assert one["heldout"] == two["heldout"]
    assert one["train"] != two["train"]


def test_digest_is_that_of_the_text_file(tmp_path: Path) -> None:
    prompts = PromptSet("x", {"train": ["a cat", "a dog"]})
    save_prompts(prompts, tmp_path)
    assert (tmp_path / "train.txt").read_text() == "a cat\na dog\n"
    assert load_prompts(str(tmp_path)).digests() == prompts.digests()


def test_user_text_file_becomes_train(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeffa cat\r\n\r\n  a größer dog \r\n".encode())
    assert load_prompts(str(path)).splits == {"train": ["a cat", "a größer dog"]}


def test_user_yaml_with_lists_and_files(tmp_path: Path) -> None:
    (tmp_path / "heldout.txt").write_text("a cow\n")
    (tmp_path / "mine.yaml").write_text("splits:\n  train: [a cat,  a   dog]\n  heldout: heldout.txt\n")
    found = load_prompts(str(tmp_path / "mine.yaml"))
    assert found.splits == {"train": ["a cat", "a dog"], "heldout": ["a cow"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train: holds no prompt; write at least one"),
        ("\n \n", "train: holds no prompt"),
        ("a cat\n...\n", r"train, prompt 2: says nothing \('\.\.\.'\)"),
        ("a cat\na dog\nA cat!\n", r"train, prompt 3: repeats prompt 1 \('A cat!'\); delete one"),
    ],
)
def test_faults_of_a_text_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_prompts(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "splits: {train: [a cat], heldout: [A Cat.]}",
            "heldout and train: 'a cat' is in more than one split",
        ),
        ("splits: {train: []}", "train: holds no prompt"),
        ("splits: {Train/1: [a cat]}", "Train/1: is no name for a split"),
        ("splits: {train: 3}", r"splits\.train: is not a list of prompts"),
        ("splits: {train: [a, 3]}", r"splits\.train: is not a list of prompts"),
        (r'splits: {train: ["a \ud800 cat"]}', "half a character, '.ud800'"),
        ("splits: {train: gone.txt}", r"gone\.txt: does not exist"),
        ("splits: [a cat]", "splits: names no split"),
        ("prompts: {train: [a cat]}", "prompts: is not a known key.*\n.*splits: names no split"),
    ],
)
def test_faults_of_a_yaml_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_prompts(str(path))


def test_all_faults_of_a_set_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("splits: {train: [a cat, a cat], heldout: [a cat], noun: []}")
    with pytest.raises(UserError) as caught:
        load_prompts(str(path))
    assert len(str(caught.value).splitlines()) == 3


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes("größer".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_prompts(str(tmp_path / "mine.txt"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pockets", "did you mean 'pocket'.* or a .txt, .jsonl or .yaml file"),
        ("gone.txt", "gone.txt: does not exist"),
        ("prompts.csv", "is not known"),
    ],
)
def test_unknown_set(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_prompts(name)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.txt or \.jsonl file"):
        load_prompts(str(tmp_path))


def test_packaged_sets_load_by_name() -> None:
    assert packaged_names() == ["activities", "pocket", "pocket-books", "pocket-dogs", "pocket-looks"]
    assert load_prompts("pocket").name == "pocket"


def test_development_view_takes_the_place_of_train_and_heldout(tmp_path: Path) -> None:
    whole, view = load_prompts("pocket"), load_prompts("pocket:dev")
    assert view.name == "pocket:dev"
    assert view.splits == {"train": whole.split("dev_train"), "heldout": whole.split("dev_heldout")}
    bare = tmp_path / "bare.yaml"
    bare.write_text("splits: {train: [a cat], heldout: [a dog]}\n", "utf-8")
    with pytest.raises(UserError, match="has no split 'dev_train'"):
        load_prompts(f"{bare}:dev")


def test_stream_gives_every_prompt_once_an_epoch_in_a_new_order() -> None:
    prompts = [str(i) for i in range(10)]
    drawn = list(islice(prompt_stream(prompts, 3), 30))
    epochs = [drawn[i : i + 10] for i in (0, 10, 20)]
    assert all(Counter(epoch) == Counter(prompts) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, prompts]}) == 4


def test_stream_depends_on_the_seed_alone() -> None:
    prompts = [str(i) for i in range(10)]
    first, again, other = (list(islice(prompt_stream(prompts, seed), 20)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@settings(deadline=None, derandomize=True)
@given(position=st.integers(0, 25), size=st.integers(1, 7))
def test_stream_goes_on_where_it_was_left(position: int, size: int) -> None:
    prompts = [str(i) for i in range(size)]
    whole = list(islice(prompt_stream(prompts, 0), position + 9))
    stream = prompt_stream(prompts, 0)
    list(islice(stream, position))
    resumed = prompt_stream(prompts, 0)
    next(resumed)  # what was drawn before does not matter
    resumed.load_state(stream.state())
    assert list(islice(resumed, 9)) == whole[position:]


def test_stream_of_nothing() -> None:
    with pytest.raises(ValueError, match="no prompts"):
        prompt_stream([], 0)


def test_a_fault_of_one_prompt_says_which_and_on_which_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("splits:\n  train:\n  - a cat\n  - 3\n  - ~\n  heldout: [a hen]\n", "utf-8")
    with pytest.raises(UserError) as caught:
        load_prompts(str(path))
    assert str(caught.value).split("\n") == [
        f"{path}: splits.train: is not a list of prompts: prompt 2 is 3 (line 4); put it in quotes",
        f"{path}: splits.train: is not a list of prompts: prompt 3 is None (line 5); put it in quotes",
    ]
    text = tmp_path / "mine.txt"
    text.write_text("a cat\n\n\na dog\n\nA cat!\n", "utf-8")
    with pytest.raises(UserError, match=r"train, prompt 3 \(line 6\): repeats prompt 1 \('A cat!'\)"):
        load_prompts(str(text))


def test_paths_that_no_disk_takes_are_unknown_and_no_crash() -> None:
    for name in ("x" * 5000, "./" + "x" * 5000, "x" * 5000 + ".txt", "~nobody/x", "a\0b"):
        with pytest.raises(UserError) as caught:
            load_prompts(name)
        assert len(str(caught.value)) < 700


def test_one_text_file_has_a_way_to_more_splits(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a cat\n", "utf-8")
    remedy = r"write a .yaml file with `splits: \{train: mine.txt, heldout: another.txt\}`"
    with pytest.raises(UserError, match=remedy):
        load_prompts(str(path)).split("heldout")


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a prompt set, where Python finds packages; and one name that is this package's own."""
    info, package = tmp_path / "birds-1.0.dist-info", tmp_path / "birds_of_a_test"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: birds\nVersion: 1.0\n", "utf-8")
    entries = "birds = birds_of_a_test:BIRDS\npocket = birds_of_a_test:BIRDS\nnone = birds_of_a_test:NONE\n"
    (info / "entry_points.txt").write_text(f"[vader_bench.prompts]\n{entries}", "utf-8")
    (package / "birds").mkdir(parents=True)
    source = "from pathlib import Path\nBIRDS = Path(__file__).parent / 'birds'\nNONE = 3\n"
    (package / "__init__.py").write_text(source, "utf-8")
    (package / "birds" / "train.txt").write_text("a hen\na crow\n", "utf-8")
    (package / "birds" / "heldout.txt").write_text("a gull\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "birds_of_a_test", raising=False)
    return package / "birds"


def test_a_set_of_an_installed_package_is_loaded_by_name(birds: Path) -> None:
    found = load_prompts("birds")
    assert (found.name, found.splits) == ("birds", {"train": ["a hen", "a crow"], "heldout": ["a gull"]})
    assert found.digests() == load_prompts(str(birds)).digests()
    assert known_names() == [*packaged_names(), "birds", "none"]
    assert load_prompts("pocket").splits.keys() > {"train", "composition"}, "own names come first"


def test_a_package_that_offers_no_path_is_named(birds: Path) -> None:
    del birds
    with pytest.raises(UserError, match=r"prompt set 'none' of package birds: .*:NONE is no pathlib.Path"):
        load_prompts("none")
    with pytest.raises(UserError, match="did you mean 'birds'"):
        load_prompts("bird")
