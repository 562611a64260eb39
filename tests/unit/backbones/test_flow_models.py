"""What Wan and LTX-Video have in common: they are what diffusers' pipelines make of them, and train."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers.pipelines.wan import pipeline_wan
from torch import Tensor

from tests.support.benches import RedReward, make_stand
from tests.support.flow import ltx_pipeline, wan_pipeline
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

PROMPTS = ["a red  cat", "a very, very long sentence"]
METHODS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {},
}
SIZES = {
    "wan": {"frames": 5, "height": 16, "width": 16},
    "ltx": {"frames": 3, "height": 32, "width": 32},
}
LATENTS = {"wan": (4, 2, 2, 2), "ltx": (8, 2, 4, 4)}
ADAPTERS = {"wan": 16, "wan-experts": 32, "ltx": 16}
"""Attention projections: 2 blocks of 2 attentions of 4."""


class Model(NamedTuple):
    """A pipeline of diffusers and the folder it was saved to."""

    kind: str
    folder: Path
    pipeline: Any

    @property
    def family(self) -> str:
        return self.kind.partition("-")[0]

    def load(self, **settings: object) -> Backbone:
        return BACKBONES.get(self.family).load(
            self.folder, **(SIZES[self.family] | {"tokens": 32} | settings)
        )

    def theirs(self, start: Tensor, guidance: float, output: str) -> Tensor:
        """Return latents [B, C, F, h, w] or pictures [B, f, 3, H, W] of the pipeline from noise ``start``."""
        size = SIZES[self.family]
        packed = start.flatten(2).transpose(1, 2) if self.family == "ltx" else start
        result: Tensor = self.pipeline(
            PROMPTS,
            num_frames=size["frames"],
            height=size["height"],
            width=size["width"],
            num_inference_steps=5,
            guidance_scale=guidance,
            latents=packed,
            max_sequence_length=32,
            output_type=output,
        ).frames
        packs = self.family == "ltx" and output == "latent"
        return result.transpose(1, 2).reshape(start.shape) if packs else result


@pytest.fixture(scope="module", params=list(ADAPTERS))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path
) -> Model:
    tokenizer = tiny_pipeline / "tokenizer"
    kind = request.param
    make = ltx_pipeline if kind == "ltx" else wan_pipeline
    pipeline = make(tokenizer, **({"experts": True} if kind == "wan-experts" else {}))
    folder = tmp_path_factory.mktemp(kind)
    pipeline.save_pretrained(folder)
    return Model(kind, folder, pipeline)


@pytest.fixture(autouse=True)
def without_ftfy(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers fixes faulty Unicode with a package that is not here."""
    monkeypatch.setattr(pipeline_wan, "prompt_clean", lambda text: " ".join(text.split()))


def start(backbone: Backbone, videos: int = 2) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch_stream(0, "start"))


@torch.no_grad()
def test_videos_are_those_of_the_pipeline_with_and_without_guidance(model: Model) -> None:
    backbone = model.load()
    noise, encoded = start(backbone), backbone.encode(PROMPTS)
    found = []
    for guidance in (1.0, 6.0):
        sampler = Sampler(backbone.denoise, backbone.schedule, steps=5, eta=0.0, guidance=guidance)
        latents = sampler.plain(noise, encoded, backbone.unconditional(encoded))
        torch.testing.assert_close(latents, model.theirs(noise, guidance, "latent"), atol=2e-5, rtol=1e-4)
        pictures = backbone.decode(latents).clamp(0, 1)
        torch.testing.assert_close(pictures, model.theirs(noise, guidance, "pt"), atol=2e-5, rtol=1e-4)
        found.append(latents)
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert not torch.allclose(found[0], noise, atol=0.1)


@torch.no_grad()
def test_texts_end_in_rows_of_zeros(model: Model) -> None:
    encoded = model.load().encode(PROMPTS)
    assert encoded.shape == (2, 32, 16)
    # a byte tokenizer: white space is none of the tokens, and two marks are
    lengths = [len("".join(prompt.split())) + 2 for prompt in PROMPTS]
    assert encoded.ne(0).any(2).sum(1).tolist() == lengths


def test_a_prompt_that_does_not_fit_is_refused(model: Model) -> None:
    backbone = model.load()
    assert backbone.encode(["x" * 30]).shape == (1, 32, 16)
    with pytest.raises(UserError, match="has 33 tokens, the text encoder reads 32; shorten it"):
        backbone.encode(["fine", "x" * 31])


@torch.no_grad()
def test_wanted_pictures_are_those_of_the_whole_video(model: Model) -> None:
    backbone = model.load()
    latents = start(backbone)
    video = backbone.decode(latents)
    size = SIZES[model.family]
    assert video.shape == (2, size["frames"], 3, size["height"], size["width"])
    last = backbone.frames - 1
    torch.testing.assert_close(backbone.decode(latents, [last, 1]), video[:, [last, 1]])
    assert not torch.allclose(video[:, 0], video[:, last], atol=1e-3)


def test_pictures_are_drawn_from_all_of_the_video_not_from_its_latents(model: Model) -> None:
    stand = make_stand(model.load(), decode_frames=1)
    method = stand.method("vader", batch_size=1, lora_rank=2)
    drawn = {method.choose_frames()[0] for _ in range(60)}
    assert drawn == set(range(SIZES[model.family]["frames"]))
    with pytest.raises(UserError, match=rf"a video has {SIZES[model.family]['frames']}"):
        make_stand(model.load(), RedReward(frames=6)).method("vader", lora_rank=2)


def test_a_shift_of_ones_own_replaces_the_folders(model: Model) -> None:
    ladders = [model.load(flow_shift=shift).schedule.timesteps(3)[1].item() for shift in (1.0, 8.0)]
    assert ladders[0] + 50 < ladders[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, r"backbone.settings: frames: is 0; it must be at least 1"),
        ({"flow_shft": 8.0}, r"backbone.settings: flow_shft: is not a known key; did you mean 'flow_shift'"),
        ({"height": "8"}, r"backbone.settings: height: is '8', not a whole number"),
        ({"frames": 4}, r"backbone.settings.frames = 4: is not a multiple of (2|4) plus 1; choose (1|3)"),
        ({"width": 40}, r"backbone.settings.width = 40: is not a multiple of 16; choose 32"),
        ({"height": 7}, r"backbone.settings.height = 7: is not a multiple of (8|16); choose (8|16)"),
    ],
)
def test_wrong_settings_are_refused(model: Model, settings: dict[str, object], message: str) -> None:
    if model.family == "ltx" and "width" in settings:
        settings, message = {"width": 41}, "settings.width = 41: is not a multiple of 8; choose 40"
    with pytest.raises(UserError, match=message):
        model.load(**settings)


@torch.no_grad()
def test_the_size_follows_the_settings(model: Model) -> None:
    backbone = model.load(frames=9, height=32, width=64)
    factor = {"wan": 4, "ltx": 2}[model.family]
    assert backbone.latent_shape == (LATENTS[model.family][0], 1 + 8 // factor, 4, 8)
    latents = start(backbone, 1)
    output = backbone.denoise(latents, torch.tensor([500.0]), backbone.encode(["a"]))
    assert output.shape == latents.shape
    assert backbone.decode(latents).shape == (1, 9, 3, 32, 64)


def test_a_folder_without_all_parts_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    with pytest.raises(UserError, match=r"has no folder 'transformer', 'text_encoder', ") as error:
        BACKBONES.get(model.family).load(tmp_path)
    assert error.value.exit_code is ExitCode.MISSING
