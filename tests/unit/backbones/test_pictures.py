from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    _resize_with_antialiasing,
)
from PIL import Image
from torch import Tensor

from vader_bench.backbones.pictures import blurred_square, picture_source
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.pocket.vocabulary import Caption
from vader_bench.pocket.world import FRAMES, draw_clip, render
from vader_bench.seeding import numpy_stream, torch_stream

SENTENCE = "a red cat jumping in the park"


def save(path: Path, height: int = 4, width: int = 6, mode: str = "RGB") -> Tensor:
    """Save a random picture and return it [3, H, W] in [0, 1]."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


@pytest.mark.parametrize("shape", [(576, 1024), (16, 24), (225, 224), (300, 100)])
def test_the_square_for_clip_equals_diffusers(shape: tuple[int, int]) -> None:
    pictures = torch.rand(1, 3, *shape, generator=torch_stream(0, "pictures")) * 2 - 1
    expected = _resize_with_antialiasing(pictures, (224, 224))
    torch.testing.assert_close(blurred_square(pictures, 224), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg"])
def test_a_prompt_names_a_file(ending: str, tmp_path: Path) -> None:
    expected = save(tmp_path / f"a dog.{ending}")
    picture = picture_source(str(tmp_path), 4, 6)("a dog")
    assert picture.shape == (3, 4, 6)
    if ending == "png":
        torch.testing.assert_close(picture, expected)
    else:
        assert 0 < (picture - expected).abs().max() <= 1


def test_a_picture_is_turned_to_red_green_and_blue(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", mode="L")
    picture = picture_source(str(tmp_path), 4, 6)("grey")
    assert torch.equal(picture[0], picture[2])


def test_a_picture_of_another_shape_is_cut_around_its_middle(tmp_path: Path) -> None:
    whole = save(tmp_path / "wide.png", 4, 8)
    torch.testing.assert_close(picture_source(str(tmp_path), 4, 4)("wide"), whole[:, :, 2:6])
    half = picture_source(str(tmp_path), 2, 4)("wide")
    assert half.shape == (3, 2, 4)
    assert half.mean().item() == pytest.approx(whole.mean().item(), abs=0.05)


def test_pocket_draws_the_first_frame_of_a_clip_of_the_prompt() -> None:
    picture = picture_source("pocket", 64, 64)(SENTENCE)
    clip = draw_clip(numpy_stream(0, "picture", SENTENCE), Caption("red", "cat", "jumping", "in the park"))
    frames = torch.from_numpy(render(clip)).permute(0, 3, 1, 2)
    assert len(frames) == FRAMES
    torch.testing.assert_close(picture, frames[0], atol=0.5 / 255 + 1e-6, rtol=0)
    assert not torch.allclose(picture, frames[1], atol=0.1)
    assert torch.equal(picture, picture_source("pocket", 64, 64)(SENTENCE))
    assert picture_source("pocket", 16, 32)(SENTENCE).shape == (3, 16, 32)


def test_pocket_knows_its_own_sentences_only() -> None:
    with pytest.raises(UserError, match="is no sentence of the pocket world"):
        picture_source("pocket", 64, 64)("a dog in a forest")


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder") as error:
        picture_source(str(tmp_path / "none"), 4, 4)
    assert error.value.exit_code is ExitCode.MISSING
    with pytest.raises(UserError, match=r"'faces': has no slash.*; write ./faces"):
        picture_source("faces", 4, 4)


def test_a_folder_of_pictures_counts_among_the_weights_of_a_run() -> None:
    settings = {"weights": "./svd", "pictures": "./faces"}
    suite = SuiteConfig.model_validate(
        {
            "suite": "faces",
            "backbone": {"family": "svd", "settings": settings},
            "rewards": {"redness": {"family": "redness"}},
            "prompts": {"default": "pocket"},
            "sampler": {"steps": 2, "eta": 1.0, "guidance": 1.0},
        }
    )
    assert suite.weights("redness") == ["./faces", "./svd"]


def test_a_prompt_that_names_no_picture_is_refused(tmp_path: Path) -> None:
    source = picture_source(str(tmp_path), 4, 6)
    with pytest.raises(UserError, match=r"'a dog': names no picture in .*; put a dog.png or") as error:
        source("a dog")
    assert error.value.exit_code is ExitCode.MISSING
    (tmp_path / "a dog.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a dog.png: cannot be read as a picture"):
        source("a dog")
    save(tmp_path / "a dog.jpg")
    with pytest.raises(UserError, match=r"a dog.png and .*a dog.jpg; delete all but one"):
        source("a dog")
    save(tmp_path.parent / "outside.png")
    with pytest.raises(UserError, match="is not the name of a picture"):
        source("../outside")


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("a caf\u00e9.png", "a cafe\u0301"),
        ("a cafe\u0301.png", "a caf\u00e9"),
        ("A Dog.PNG", "a dog"),
        ("a dog.JPEG", "A dog"),
        ("stra\u00dfe.webp", "STRASSE"),
        ("v1.5 of a dog.png", "v1.5 of a dog"),
    ],
)
def test_pictures_have_the_names_that_people_and_systems_give_them(
    tmp_path: Path, name: str, prompt: str
) -> None:
    save(tmp_path / name)
    assert picture_source(str(tmp_path), 4, 6)(prompt).shape == (3, 4, 6)


def test_where_names_differ_in_case_alone_the_prompt_decides(tmp_path: Path) -> None:
    for name in ("a dog.png", "A dog.png"):
        save(tmp_path / name)
    source = picture_source(str(tmp_path), 4, 6)
    assert source("a dog").shape == (3, 4, 6)
    with pytest.raises(UserError, match="delete all but one"):
        source("A DOG")


@pytest.mark.parametrize("depth", [np.uint16, np.int32, np.float32])
def test_pictures_of_other_depths_are_refused_and_not_cut_off(tmp_path: Path, depth: type) -> None:
    ending = "png" if depth is np.uint16 else "tiff"
    path = tmp_path / f"a dog.{ending}"
    Image.fromarray(np.full((4, 6), 1000).astype(depth)).save(path)
    path = path.rename(tmp_path / "a dog.png")  # what it is says its content
    with pytest.raises(UserError, match=r"a dog.png: has more than 8 bits a pixel.*; save it with 8 bits"):
        picture_source(str(tmp_path), 4, 6)("a dog")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_pictures_of_8_bits_and_fewer_are_read(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[0, 255, 0, 255]] * 4, np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a dog.png")
    assert picture_source(str(tmp_path), 4, 4)("a dog")[0, 0].tolist() == [0, 1, 0, 1]
