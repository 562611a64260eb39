"""Every stage trains for a few steps and writes what the package loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, unpatchify
from numpy.typing import NDArray
from transformers import T5TokenizerFast

from vader_bench.backbones import BACKBONES
from vader_bench.pocket.oracle import Sighting
from vader_bench.pocket.vocabulary import ACTIONS, parse_caption
from vader_bench.pretrain import clip, text_to_video, vae, videomae, wan, wan_vae
from vader_bench.pretrain.clips import LOOSE_SHARE, actions, captions, draw_clips, loosely, rendered
from vader_bench.pretrain.denoiser import Steps
from vader_bench.pretrain.export import export_clip, export_videomae
from vader_bench.pretrain.measure import count_known, measure_samples
from vader_bench.pretrain.pool import CLEAR, Piece, Pool
from vader_bench.pretrain.tokenizer import MAX_TOKENS, make_pieces, make_tokenizer, tokenise
from vader_bench.rewards import make_reward

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
    model = text_to_video.TextToVideo(tokenizer, vae.LATENT_CHANNELS)
    text_to_video.train(
        model, tokenizer, latents, captions(draw_clips("train", _COUNT)), work, Steps(2, 2, 2, 2)
    )
    text_to_video.save(model.eval(), autoencoder, tokenizer, work / "text-to-video")
    backbone = BACKBONES.get("modelscope").load(work / "text-to-video", frames=8)
    assert backbone.latent_shape == (vae.LATENT_CHANNELS, 8, 8, 8)
    noise = torch.zeros(1, *backbone.latent_shape)
    assert backbone.decode(noise, [0]).shape == (1, 1, 3, 64, 64)


def test_wans_autoencoder_and_denoiser(work: Path, clips: NDArray[np.uint8], tmp_path: Path) -> None:
    teacher = vae.build().eval()
    latents = vae.encoded(teacher, clips, tmp_path)
    autoencoder = wan_vae.build(teacher, latents)
    assert _agreement(autoencoder, teacher, clips) < 0.1
    before = wan_vae.psnr(autoencoder.eval(), clips[:2])
    wan_vae.teach_encoder(autoencoder, teacher, clips, work, steps=40)
    assert _agreement(autoencoder, teacher, clips) > 0.3
    encoder = autoencoder.encoder.conv_in.weight.clone()
    latents = wan_vae.normalised(autoencoder, latents, teacher.config["scaling_factor"])
    wan_vae.teach_decoder(autoencoder, latents, clips, work, steps=6)
    assert torch.equal(autoencoder.encoder.conv_in.weight, encoder)
    wan_vae.train_together(autoencoder, teacher, clips, work, steps=4)
    assert not torch.equal(autoencoder.encoder.conv_in.weight, encoder)
    assert _agreement(autoencoder, teacher, clips) > 0.3
    assert wan_vae.psnr(autoencoder.eval(), clips[:2]) > before
    assert latents.shape == (_COUNT, vae.LATENT_CHANNELS, 8, 8, 8)
    assert latents.float().mean(dim=(0, 2, 3, 4)).abs().max() < 0.01
    assert (latents.float().std(dim=(0, 2, 3, 4)) - 1).abs().max() < 0.01
    tokenizer = make_pieces()
    model = wan.WanTextToVideo(tokenizer, vae.LATENT_CHANNELS)
    wan.train(model, tokenizer, latents, captions(draw_clips("train", _COUNT)), work, Steps(2, 2, 2, 2))
    wan.save(model.eval(), autoencoder, tokenizer, work / "wan")
    sizes = {"frames": 8, "height": 64, "width": 64, "tokens": MAX_TOKENS}
    backbone = BACKBONES.get("wan").load(work / "wan", **sizes)
    assert backbone.latent_shape == (vae.LATENT_CHANNELS, 8, 8, 8)
    with torch.no_grad():
        states = backbone.encode(_SENTENCE)
        prediction = backbone.denoise(latents[:1].float(), torch.tensor([500.0]), states)
        own = model(latents[:1].float(), torch.tensor([500.0]), _pieces(tokenizer))
    torch.testing.assert_close(prediction, own, rtol=0.02, atol=0.02)  # stored in half precision
    assert backbone.decode(latents[:1].float(), [0]).shape == (1, 1, 3, 64, 64)


@torch.no_grad()
def _agreement(autoencoder: AutoencoderKLWan, teacher: AutoencoderKL, clips: NDArray[np.uint8]) -> float:
    """Return the share of the variance of the teacher's latents that the autoencoder's give."""
    given = wan_vae._posterior(autoencoder, wan_vae.to_clips(clips)).mean
    wanted = torch.stack([teacher.encode(vae.to_pictures(clip)).latent_dist.mean for clip in clips])
    wanted = wanted.transpose(1, 2)
    spread = (wanted - wanted.mean(dim=(0, 2, 3, 4), keepdim=True)).square().mean()
    return 1 - float((given - wanted).square().mean() / spread)


def _pieces(tokenizer: T5TokenizerFast) -> torch.Tensor:
    return torch.tensor(tokenizer(_SENTENCE, padding="max_length", max_length=MAX_TOKENS).input_ids)


def _with_a_past() -> AutoencoderKLWan:
    """Return an autoencoder whose convolutions over time look at frames before, as trained ones do."""
    autoencoder = wan_vae.build(vae.build(), torch.randn(4, vae.LATENT_CHANNELS, 8, 8, 8)).eval()
    noise = torch.Generator().manual_seed(0)
    for name, weight in autoencoder.named_parameters():
        if weight.ndim == 5 and weight.shape[2] > 1:
            assert not weight[:, :, :-1].any(), name
            weight.data.add_(0.05 * torch.randn(weight.shape, generator=noise))
    return autoencoder


def test_a_clip_through_wans_autoencoder_is_the_same_at_once_and_in_parts(clips: NDArray[np.uint8]) -> None:
    autoencoder = _with_a_past()
    latents = torch.randn(1, vae.LATENT_CHANNELS, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        streamed = autoencoder.decode(latents, return_dict=False)[0]
        whole = autoencoder.decoder(autoencoder.post_quant_conv(latents))
    together = unpatchify(whole, 2).clamp(-1, 1)
    torch.testing.assert_close(streamed, together, rtol=1e-4, atol=1e-5)


def test_what_is_skipped_of_single_frames_is_zero() -> None:
    autoencoder = _with_a_past()
    frames = torch.rand(2, 3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        whole = wan_vae._posterior(autoencoder, frames).mean
        with wan_vae._single_frames(autoencoder):
            short = wan_vae._posterior(autoencoder, frames).mean
        again = wan_vae._posterior(autoencoder, frames).mean
    torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(again, whole)


def test_the_last_phase_teaches_the_guided_prediction(work: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(tokenizer, 2)
    latents = torch.randn(4, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    told = tokenise(tokenizer, _SENTENCE)
    empty = tokenise(tokenizer, [""])
    at = latents[:1], torch.tensor([500])
    with torch.no_grad():
        text_to_video.train(model, tokenizer, latents, _SENTENCE * 4, tmp_path / "a", Steps(0, 0, 0, 0))
        without, with_prompt = model(*at, empty), model(*at, told)
    wanted = without + text_to_video.GUIDANCE * (with_prompt - without)
    text_to_video.train(model, tokenizer, latents, _SENTENCE * 4, tmp_path / "b", Steps(0, 0, 0, 30))
    with torch.no_grad():
        now = model(*at, told)
    assert (now - wanted).square().mean() < 0.5 * (with_prompt - wanted).square().mean()


def test_the_words_for_actions_are_taken_apart(work: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(tokenizer, 2)
    texts = ["a red cat growing in the park", "a red cat shrinking in the park"]
    latents = torch.randn(2, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))

    def distance() -> float:
        with torch.no_grad():
            growing, shrinking = model.states(tokenise(tokenizer, texts))
        return float((growing - shrinking).norm())

    before = distance()
    text_to_video.train(model, tokenizer, latents, texts, tmp_path, Steps(0, 0, 60, 0))
    assert distance() > 2 * before


def test_texts_without_an_action_are_refused() -> None:
    assert actions(["a red cat growing in the park", *_SENTENCE]).tolist() == [4, 3]
    with pytest.raises(ValueError, match="no sentences"):
        actions(["a red cat"])


def test_loose_captions_differ_in_the_action_alone() -> None:
    texts = captions(draw_clips("train", 400))
    loose = loosely(texts)
    changed = [(parse_caption(a), parse_caption(b)) for a, b in zip(texts, loose, strict=True) if a != b]
    assert abs(len(changed) / len(texts) - LOOSE_SHARE) < 0.08
    for true, told in changed:
        assert true is not None
        assert told is not None
        assert told.action != true.action
        assert replace(told, action=true.action) == true
    assert {told.action for _, told in changed if told} == set(ACTIONS)


def test_pictures_leave_what_is_over_time_at_its_start(
    work: Path, clips: NDArray[np.uint8], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(tokenizer, vae.LATENT_CHANNELS)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    latents = torch.randn(_COUNT, vae.LATENT_CHANNELS, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = captions(draw_clips("train", _COUNT))
    text_to_video.train(model, tokenizer, latents, texts, tmp_path, Steps(2, 0, 0, 0))
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert not [name for name in moved if "temp_convs" in name]
    assert {"unet.conv_in.weight", "text_encoder.text_model.final_layer_norm.weight"} <= moved
    assert all(weight.requires_grad for weight in model.parameters())


def test_clip(work: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = clip.build(tokenizer)
    clip.train(model, tokenizer, work, steps=2)
    export_clip(model.eval(), tokenizer, work / "clip")
    video = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert make_reward("hps", {"model": str(work / "clip")}).score(video, _SENTENCE).abs() <= 1


def test_the_action_classifier(work: Path, clips: NDArray[np.uint8], drawn_pool: Pool) -> None:
    model = videomae.build()
    drawn = draw_clips("train", _COUNT)
    videomae.train(model, clips, drawn, drawn_pool, work, "videomae", steps=2)
    assert 0 <= videomae.accuracy(model.eval(), clips, drawn) <= 1
    export_videomae(model, work / "videomae")
    reward = make_reward("action", {"model": str(work / "videomae")})
    video = torch.rand(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert 0 < reward.score(video, _SENTENCE).item() < 1


def test_an_action_is_taught_where_the_oracle_is_sure_and_none_elsewhere(clips: NDArray[np.uint8]) -> None:
    seen = Sighting("red", {}, noun="cat", action="jumping", scene="at night", overlap=0.9)
    piece = Piece(clips[0], "a red cat spinning at night", seen, [False] * 8)
    assert videomae._pooled(piece)[1].tolist() == [float(action == "jumping") for action in ACTIONS]
    unsure = piece._replace(seen=replace(seen, overlap=CLEAR / 2))
    assert videomae._pooled(unsure)[1].tolist() == [1 / 8] * 8


def test_the_card_counts_real_clips_as_right(clips: NDArray[np.uint8]) -> None:
    drawn = [c for c in draw_clips("train", _COUNT) if c.caption.prop_noun is None]
    videos = np.stack([clips[draw_clips("train", _COUNT).index(c)] for c in drawn]).astype(np.float32) / 255.0
    measured = measure_samples(videos, captions(drawn))
    assert measured["noun"] == measured["action"] == measured["scene"] == 1.0
    by_action = measured["by_action"]
    assert isinstance(by_action, dict)
    assert by_action == dict.fromkeys((c.caption.action for c in drawn), 1.0)


def test_prompts_that_the_denoiser_was_trained_on_are_counted() -> None:
    trained = captions(draw_clips("base", 3))
    assert count_known([*trained, "a sentence of another world"]) == 3
