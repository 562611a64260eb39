"""Prompts with negative prompts and pictures: what diffusers' pipelines make of the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.pipelines.wan import pipeline_wan
from PIL import Image

from tests.support import svd
from tests.support.flow import wan_pipeline
from vader_bench.backbones import BACKBONES, Backbone, ImageBackbone
from vader_bench.backbones.detailed import with_details
from vader_bench.backbones.pictures import picture_source
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError
from vader_bench.prompts.lines import PromptDetails

SIZE: dict[str, object] = {"frames": 5, "height": 16, "width": 16, "tokens": 32}
PROMPTS = ["a cat", "a dog"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(folder)
    return folder


def load(folder: Path, **settings: object) -> Backbone:
    return BACKBONES.get("wan").load(folder, **(SIZE | settings))


@torch.no_grad()
def test_negative_prompts_are_those_of_the_pipeline(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a prompt's own, and the suite's for the other."""
    monkeypatch.setattr(pipeline_wan, "prompt_clean", str)
    details = {"a cat": PromptDetails("grey, blurred", None)}
    backbone = with_details(load(saved), details, "ugly")
    encoded = backbone.encode(PROMPTS)
    assert encoded.shape[1:] == backbone.text_shape
    start = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    sampler = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, 5.0)
    found = sampler.plain(start, encoded, backbone.unconditional(encoded))
    pipeline = wan_pipeline(saved / "tokenizer")
    theirs = pipeline(
        PROMPTS, ["grey, blurred", "ugly"], num_frames=5, height=16, width=16, num_inference_steps=4,
        latents=start, max_sequence_length=32, output_type="latent", guidance_scale=5.0,
    ).frames  # fmt: skip
    torch.testing.assert_close(found, theirs, atol=2e-5, rtol=1e-4)
    turned = backbone.unconditional(encoded[[1, 0]])
    assert torch.equal(turned, backbone.unconditional(encoded)[[1, 0]])


def test_a_prompt_without_one_is_contrasted_as_before(saved: Path) -> None:
    plain = load(saved)
    assert with_details(plain, {}, "") is plain
    backbone = with_details(plain, {"a cat": PromptDetails("grey", None)}, "")
    encoded = backbone.encode(["a dog"])
    both = torch.cat([plain.encode(["a dog"]), plain.encode([""])], dim=1)
    assert torch.equal(encoded, both)


def test_a_picture_is_no_use_to_a_model_of_texts(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has an image, and wan makes videos of texts alone"):
        with_details(load(saved), {"a cat": PromptDetails("", tmp_path)}, "")


def test_a_prompt_may_bring_its_picture(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name, colour in (("a dog", "blue"), ("cat", "red")):
        Image.new("RGB", (30, 20), colour).save(tmp_path / "pictures" / f"{name}.png")
    inner = BACKBONES.get("svd").load(
        svd.write_model(tmp_path / "svd"), pictures=str(tmp_path / "pictures"), height=16, width=16, frames=2
    )
    assert isinstance(inner, ImageBackbone)
    details = {"a cat": PromptDetails("", tmp_path / "pictures" / "cat.png")}
    backbone = with_details(inner, details, "")
    assert isinstance(backbone, ImageBackbone)
    encoded = backbone.encode(["a cat", "a dog"]).chunk(2, dim=1)[0]
    red = picture_source(str(tmp_path / "pictures"), 16, 16)("cat")
    torch.testing.assert_close(encoded[:1], inner.encode_pictures(red[None], ["a cat"], [""]))
    torch.testing.assert_close(encoded[1:], inner.encode(["a dog"]))
    with pytest.raises(UserError, match="is a text, and svd reads none"):
        with_details(inner, {}, "ugly").encode(["a dog"])


@torch.no_grad()
def test_long_prompts_are_cut_as_in_the_pipeline_where_that_is_wanted(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_wan, "prompt_clean", str)
    long = "a very long prompt " * 5
    with pytest.warns(UserWarning, match=r"prompt 'a very .* has \d+ tokens and is cut after 32"):
        found = load(saved, long_prompts="cut").encode([long.strip()])
    theirs = wan_pipeline(saved / "tokenizer").encode_prompt(
        long.strip(), do_classifier_free_guidance=False, max_sequence_length=32
    )[0]
    torch.testing.assert_close(found, theirs)
    with pytest.raises(UserError, match="shorten it, or set long_prompts: cut"):
        load(saved).encode([long.strip()])
    reader = BACKBONES.get("wan").reader(str(saved), **(SIZE | {"long_prompts": "cut"}))
    assert reader is not None
    with pytest.warns(UserWarning, match="is cut after 32"):
        reader(long.strip())
