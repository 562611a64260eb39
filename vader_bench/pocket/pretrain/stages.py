"""What is trained, in order: each stage takes the folder of data and checkpoints and that of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pocket.pretrain import (
    clip,
    parallel,
    pickscore,
    text_to_video,
    vae,
    videomae,
    vjepa,
    yolos,
)
from vader_bench.pocket.pretrain.card import write_card
from vader_bench.pocket.pretrain.clips import DENOISER_CLIPS, captions, draw_clips, rendered
from vader_bench.pocket.pretrain.export import (
    export_clip,
    export_head,
    export_videomae,
    export_vjepa,
    export_yolos,
)
from vader_bench.pocket.pretrain.tokenizer import make_tokenizer
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD
from vader_bench.weights import write_digests

__all__ = ["STAGES"]

_TRAIN_CLIPS = 12_000


def _vae(work: Path, _: Path) -> None:
    model = vae.build()
    clips = rendered("train", _TRAIN_CLIPS, work)
    vae.train(model, clips, work, steps=2000)
    vae.finish_decoder(model, clips, work, steps=4000)
    model.eval().save_pretrained(work / "vae")


def _clip(work: Path, out: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = clip.build(tokenizer)
    clip.train(model, tokenizer, work, steps=2000)
    export_clip(model.eval(), tokenizer, out / "clip")
    export_head(clip.fit_head(model), out / "aesthetic")


def _hps(work: Path, out: Path) -> None:
    tokenizer = make_tokenizer(work / "tokenizer")
    model = CLIPModel.from_pretrained(out / "clip", dtype=torch.float32)
    clip.train_preferences(model.train(), tokenizer, work, steps=1000)
    export_clip(model.eval(), tokenizer, out / "hps")


def _text_to_video(work: Path, out: Path) -> None:
    autoencoder = AutoencoderKL.from_pretrained(work / "vae").eval()
    _latents(autoencoder, work)  # kept there before several processes ask for them
    parallel.run(_train_text_to_video, torch.get_num_threads(), work, out)
    model = _train_text_to_video(work, out)  # finds all steps done
    text_to_video.save(model.eval(), autoencoder, make_tokenizer(work / "tokenizer"), out / "text-to-video")


def _train_text_to_video(work: Path, out: Path) -> text_to_video.TextToVideo:
    words = CLIPModel.from_pretrained(out / "clip", dtype=torch.float32)
    model = text_to_video.TextToVideo(words, vae.LATENT_CHANNELS)
    latents = _latents(AutoencoderKL.from_pretrained(work / "vae").eval(), work)
    texts = captions(draw_clips("text-to-video", DENOISER_CLIPS))
    text_to_video.train(model, make_tokenizer(work / "tokenizer"), latents, texts, work, steps=(2400, 900))
    return model


def _latents(autoencoder: AutoencoderKL, work: Path) -> Tensor:
    return vae.encoded(autoencoder, rendered("text-to-video", DENOISER_CLIPS, work), work)


def _videomae(work: Path, out: Path) -> None:
    model = videomae.build()
    clips = draw_clips("train", _TRAIN_CLIPS)
    videomae.train(model, rendered("train", _TRAIN_CLIPS, work), clips, work, steps=2500)
    export_videomae(model.eval(), out / "videomae")


def _pickscore(work: Path, out: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(out / "clip")
    model = CLIPModel.from_pretrained(out / "clip", dtype=torch.float32)
    pickscore.train(model.train(), tokenizer, work, steps=1000)
    export_clip(model.eval(), tokenizer, out / "pickscore", CLIP_MEAN, CLIP_STD)


def _yolos(work: Path, out: Path) -> None:
    model = yolos.build()
    yolos.begin_as(model, CLIPModel.from_pretrained(out / "clip", dtype=torch.float32))
    yolos.train(model, work, steps=2500)
    export_yolos(model.eval(), out / "yolos")


def _vjepa(work: Path, out: Path) -> None:
    model = vjepa.train(vjepa.build(), rendered("train", _TRAIN_CLIPS, work), work, steps=1500)
    export_vjepa(model.eval(), out / "vjepa")


def _card(work: Path, out: Path) -> None:
    write_card(work, out)
    write_digests(out)


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "vae": _vae,
    "clip": _clip,
    "hps": _hps,
    "text-to-video": _text_to_video,
    "videomae": _videomae,
    "pickscore": _pickscore,
    "object-removal": _yolos,
    "temporal-consistency": _vjepa,
    "card": _card,
}
