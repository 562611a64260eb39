"""What is trained, in order: each stage takes the folder of data and checkpoints and that of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPModel, CLIPVisionModelWithProjection

from vader_bench.pretrain import (
    clip,
    image_to_video,
    parallel,
    rounds,
    temporal_vae,
    text_to_video,
    vae,
    wan,
    wan_vae,
)
from vader_bench.pretrain.card import write_card
from vader_bench.pretrain.clips import BASE_CLIPS, captions, draw_clips, rendered
from vader_bench.pretrain.denoiser import Steps
from vader_bench.pretrain.export import export_clip
from vader_bench.pretrain.learners import ROUNDS
from vader_bench.pretrain.tokenizer import make_pieces, make_tokenizer
from vader_bench.weights.resolve import write_digests

__all__ = ["STAGES"]

_TEXT_TO_VIDEO = Steps(frames=2200, clips=1700, words=450, guidance=400)
_WAN = Steps(frames=2500, clips=2200, words=1200, guidance=400, more_clips=2600)


def _vae(work: Path, _: Path) -> None:
    model = vae.build()
    clips = rendered("base", BASE_CLIPS, work)
    vae.train(model, clips, work, steps=5000)
    vae.finish_decoder(model, clips, work, steps=2000)
    model.eval().save_pretrained(work / "vae")


def _wan_vae(work: Path, out: Path) -> None:
    teacher, clips = _autoencoder(work, out), rendered("base", BASE_CLIPS, work)
    model = wan_vae.build(teacher, _latents(teacher, work))
    wan_vae.teach_encoder(model, teacher, clips, work, steps=1500)
    wan_vae.teach_decoder(model, _wan_latents(work, out), clips, work, steps=4000)
    wan_vae.train_together(model, teacher, clips, work, steps=2500)
    model.eval().save_pretrained(work / "wan-vae")


def _clip(work: Path, out: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = clip.build(tokenizer)
    clip.train(model, tokenizer, work, steps=2000)
    export_clip(model.eval(), tokenizer, out / "clip")


def _text_to_video(work: Path, out: Path) -> None:
    autoencoder = AutoencoderKL.from_pretrained(work / "vae").eval()
    _latents(autoencoder, work)  # kept there before several processes ask for them
    parallel.run(_train_text_to_video, torch.get_num_threads(), work, out)
    model = _train_text_to_video(work, out)  # finds all steps done
    text_to_video.save(model.eval(), autoencoder, make_tokenizer(work / "tokenizer"), out / "text-to-video")


def _train_text_to_video(work: Path, _: Path) -> text_to_video.TextToVideo:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = text_to_video.TextToVideo(tokenizer, vae.LATENT_CHANNELS)
    latents = _latents(AutoencoderKL.from_pretrained(work / "vae").eval(), work)
    texts = captions(draw_clips("base", BASE_CLIPS))
    text_to_video.train(model, tokenizer, latents, texts, work, _TEXT_TO_VIDEO)
    return model


def _latents(autoencoder: AutoencoderKL, work: Path) -> Tensor:
    return vae.encoded(autoencoder, rendered("base", BASE_CLIPS, work), work)


def _wan(work: Path, out: Path) -> None:
    parallel.run(_train_wan, torch.get_num_threads(), work, out)
    model = _train_wan(work, out)  # finds all steps done
    autoencoder = AutoencoderKLWan.from_pretrained(work / "wan-vae").eval()
    wan.save(model.eval(), autoencoder, make_pieces(), out / "wan")


def _train_wan(work: Path, out: Path) -> wan.WanTextToVideo:
    tokenizer = make_pieces()
    model = wan.WanTextToVideo(tokenizer, vae.LATENT_CHANNELS)
    latents = _wan_latents(work, out)
    wan.train(model, tokenizer, latents, captions(draw_clips("base", BASE_CLIPS)), work, _WAN)
    return model


def _wan_latents(work: Path, out: Path) -> Tensor:
    """Return the latents of the clips as Wan's denoiser takes them; its autoencoder need not be trained."""
    teacher = _autoencoder(work, out)
    latents = _latents(teacher, work)
    return wan_vae.normalised(wan_vae.build(teacher, latents), latents, teacher.config["scaling_factor"])


def _temporal_vae(work: Path, out: Path) -> None:
    teacher, clips = _autoencoder(work, out), rendered("base", BASE_CLIPS, work)
    model = temporal_vae.build(teacher)
    temporal_vae.teach_encoder(model, teacher, clips, work, steps=500)
    temporal_vae.teach_decoder(model, teacher, clips, work, steps=(1200, 1000))
    model.eval().save_pretrained(work / "temporal-vae")


def _image_to_video(work: Path, out: Path) -> None:
    _picture_clips(work, out)  # kept there before several processes ask for them
    parallel.run(_train_image_to_video, torch.get_num_threads(), work, out)
    unet, autoencoder, encoder = _train_image_to_video(work, out)  # finds all steps done
    image_to_video.save(unet, autoencoder, encoder, out / "image-to-video")


def _train_image_to_video(
    work: Path, out: Path
) -> tuple[UNetSpatioTemporalConditionModel, AutoencoderKLTemporalDecoder, CLIPVisionModelWithProjection]:
    encoder = image_to_video.image_encoder(CLIPModel.from_pretrained(out / "clip", dtype=torch.float32))
    autoencoder = AutoencoderKLTemporalDecoder.from_pretrained(work / "temporal-vae").eval()
    latents, pictures = _picture_clips(work, out)
    unet = image_to_video.build(latents.shape[1], encoder.config.projection_dim)
    image_to_video.train(unet, autoencoder, encoder, latents, pictures, work, steps=(3000, 1800))
    return unet, autoencoder, encoder


def _picture_clips(work: Path, out: Path) -> tuple[Tensor, NDArray[np.uint8]]:
    """Return the latents of the clips, which are those of the text-to-video model, and their first frames."""
    clips = rendered("base", BASE_CLIPS, work)
    return _latents(_autoencoder(work, out), work), np.ascontiguousarray(clips[:, 0])


def _autoencoder(work: Path, out: Path) -> AutoencoderKL:
    """Return the trained autoencoder of frames; the finished one where it was not trained here."""
    folder = work / "vae" if (work / "vae").exists() else out / "text-to-video" / "vae"
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()


def _card(work: Path, out: Path) -> None:
    write_card(work, out)
    write_digests(out)


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "vae": _vae,
    "wan-vae": _wan_vae,
    "clip": _clip,
    "text-to-video": _text_to_video,
    "wan": _wan,
    "temporal-vae": _temporal_vae,
    "image-to-video": _image_to_video,
    **{f"rewards-{round_}": partial(rounds.play, round_) for round_ in range(ROUNDS)},
    "card": _card,
}
