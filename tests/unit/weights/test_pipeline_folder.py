from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.flow import wan_pipeline
from vader_bench.errors import UserError
from vader_bench.weights.pipeline_folder import latent_sizes, require_equal, require_parts, tokenize
from vader_bench.weights.tokenizers import read_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(folder)
    return folder


def test_a_folder_without_parts_or_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    with pytest.raises(UserError, match="transformer: cannot be loaded"):
        read_tokenizer(tmp_path / "transformer")
    with pytest.raises(UserError, match=r"'vae', 'tokenizer'; give a folder with .*, as XPipeline has them"):
        require_parts(tmp_path, ["transformer", "vae", "tokenizer"], "XPipeline")


def test_texts_are_cleaned_as_the_pipelines_do(saved: Path) -> None:
    tokenizer = read_tokenizer(saved / "tokenizer")
    ids, words = tokenize(tokenizer, [" a  &amp;lt; b\n", "a < b", ""], 12)
    assert ids.shape == words.shape == (3, 12)
    assert torch.equal(ids[0], ids[1])
    assert words.sum(1).tolist() == [5, 5, 2]
    with pytest.raises(UserError, match="prompt 'four': has 6 tokens, the text encoder reads 5"):
        tokenize(tokenizer, ["a", "four"], 5)


def test_networks_that_belong_together_have_equal_sizes(tmp_path: Path) -> None:
    require_equal(tmp_path, {"a.width": 3, "b.width": 3})
    with pytest.raises(UserError, match=r"has a.width = 3 and b.width = 4; give networks that belong"):
        require_equal(tmp_path, {"a.width": 3, "b.width": 4})


FACTORS = {"frames": (4, 1), "height": (8, 2), "width": (8, 2)}


def test_the_first_picture_stands_for_itself() -> None:
    assert latent_sizes({"frames": 81, "height": 480, "width": 832}, FACTORS) == (21, 60, 104)
    assert latent_sizes({"frames": 1, "height": 16, "width": 16}, FACTORS) == (1, 2, 2)


@pytest.mark.parametrize(
    ("name", "size", "factor", "message"),
    [
        ("frames", 80, (4, 1), "frames = 80: is not a multiple of 4 plus 1; choose 77"),
        ("frames", 4, (4, 1), "frames = 4: is not a multiple of 4 plus 1; choose 1"),
        ("height", 488, (8, 2), "height = 488: is not a multiple of 16; choose 480"),
        ("width", 8, (8, 2), "width = 8: is not a multiple of 16; choose 16"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(
    name: str, size: int, factor: tuple[int, int], message: str
) -> None:
    wanted = {"frames": 81, "height": 480, "width": 832} | {name: size}
    with pytest.raises(UserError, match=message):
        latent_sizes(wanted, FACTORS | {name: factor})
