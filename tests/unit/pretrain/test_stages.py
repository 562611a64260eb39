"""Every stage trains for a few steps and writes what the package loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vader_bench.backbones import BACKBONES
from vader_bench.pretrain import clip, text_to_video, vae, videomae
from vader_bench.pretrain.clips import captions, draw_clips, rendered
from vader_bench.pretrain.export import export_clip, export_head, export_videomae
from vader_bench.pretrain.measure import count_known, measure_samples
from vader_bench.pretrain.tokenizer import make_tokenizer
from vader_bench.rewards import REWARDS

pytestmark = pytest.mark.slow
_COUNT = 8
_SENTENCE = ["a red cat spinning in the park"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def clips(work: Path) -> NDArray[np.uint8]:
    return rendered("train", _COUNT, work)


def test_the_autoencoder_and_the_denoiser(work: Path, clips: NDArray[np.uint8]) -> None:
    autoencoder = vae.build()
    before = vae.psnr(autoencoder.eval(), clips[:2])
    vae.train(autoencoder.train(), clips, work, steps=6)
    encoder = autoencoder.encoder.conv_in.weight.clone()
    vae.finish_decoder(autoencoder, clips, work, steps=4)
    assert torch.equal(autoencoder.encoder.conv_in.weight, encoder)
    assert vae.psnr(autoencoder.eval(), clips[:2]) > before
    latents = vae.encoded(autoencoder, clips, work)
    assert latents.shape == (_COUNT, vae.LATENT_CHANNELS, 8, 8, 8)
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(clip.build(tokenizer), vae.LATENT_CHANNELS)
    text_to_video.train(model, tokenizer, latents, captions(draw_clips("train", _COUNT)), work, steps=(2, 2))
    text_to_video.save(model.eval(), autoencoder, tokenizer, work / "text-to-video")
    backbone = BACKBONES.get("modelscope").load(work / "text-to-video", frames=8)
    assert backbone.latent_shape == (vae.LATENT_CHANNELS, 8, 8, 8)
    noise = torch.zeros(1, *backbone.latent_shape)
    assert backbone.decode(noise, [0]).shape == (1, 1, 3, 64, 64)


def test_pictures_leave_what_is_over_time_at_its_start(
    work: Path, clips: NDArray[np.uint8], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(clip.build(tokenizer), vae.LATENT_CHANNELS)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    latents = torch.randn(_COUNT, vae.LATENT_CHANNELS, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = captions(draw_clips("train", _COUNT))
    text_to_video.train(model, tokenizer, latents, texts, tmp_path, steps=(2, 0))
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert not [name for name in moved if "temp_convs" in name]
    assert {"unet.conv_in.weight", "text_encoder.text_model.final_layer_norm.weight"} <= moved
    assert all(weight.requires_grad for weight in model.parameters())


def test_clip_its_head_and_preferences(work: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = clip.build(tokenizer)
    clip.train(model, tokenizer, work, steps=2)
    head = clip.fit_head(model.eval(), count=128)
    assert head["weight"].shape == (64,)
    assert -1 <= clip.head_correlation(model, head, count=64) <= 1
    clip.train_preferences(model.train(), tokenizer, work, steps=2)
    assert 0 <= clip.pair_accuracy(model.eval(), tokenizer, count=8) <= 1
    export_clip(model, tokenizer, work / "clip")
    export_head(head, work / "aesthetic")
    video = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rating = REWARDS.get("aesthetic")(clip=str(work / "clip"), head=str(work / "aesthetic/head.safetensors"))
    assert torch.isfinite(rating.score(video, _SENTENCE)).all()
    assert REWARDS.get("hps")(model=str(work / "clip")).score(video, _SENTENCE).abs() <= 1


def test_the_action_classifier(work: Path, clips: NDArray[np.uint8]) -> None:
    model = videomae.build()
    drawn = draw_clips("train", _COUNT)
    videomae.train(model, clips, drawn, work, steps=2)
    assert 0 <= videomae.accuracy(model.eval(), clips, drawn) <= 1
    export_videomae(model, work / "videomae")
    reward = REWARDS.get("action")(model=str(work / "videomae"))
    video = torch.rand(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert 0 < reward.score(video, _SENTENCE).item() < 1


def test_the_card_counts_real_clips_as_right(clips: NDArray[np.uint8]) -> None:
    drawn = [c for c in draw_clips("train", _COUNT) if c.caption.prop_noun is None]
    videos = np.stack([clips[draw_clips("train", _COUNT).index(c)] for c in drawn]).astype(np.float32) / 255.0
    measured = measure_samples(videos, captions(drawn))
    assert measured["base_noun"] == measured["base_action"] == measured["base_scene"] == 1.0
    by_action = measured["base_by_action"]
    assert isinstance(by_action, dict)
    assert by_action == dict.fromkeys((c.caption.action for c in drawn), 1.0)


def test_prompts_that_the_denoiser_was_trained_on_are_counted() -> None:
    trained = captions(draw_clips("text-to-video", 3))
    assert count_known([*trained, "a sentence of another world"]) == 3
