"""Runs the stages in order. Each is skipped when it is done and goes on where it was when it is not."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPModel

from vader_bench.pocket.pretrain import clip, text_to_video, vae, videomae
from vader_bench.pocket.pretrain.card import write_card
from vader_bench.pocket.pretrain.clips import captions, draw_clips, rendered
from vader_bench.pocket.pretrain.export import export_clip, export_head, export_videomae
from vader_bench.pocket.pretrain.tokenizer import make_tokenizer
from vader_bench.weights import PACKAGED, write_digests

__all__ = ["main"]

_TRAIN_CLIPS = 12_000
_LATENT_CLIPS = 6_000


def main() -> None:
    """Train what is missing and write the weights, their card and their digests."""
    parser = argparse.ArgumentParser(description="train the pocket suite from nothing")
    parser.add_argument("--work", type=Path, default=Path("build/pretrain"), help="data and checkpoints")
    parser.add_argument("--out", type=Path, default=PACKAGED, help="folder of the finished weights")
    parser.add_argument("--threads", type=int, default=2)
    stages = {
        "vae": _vae,
        "clip": _clip,
        "hps": _hps,
        "text-to-video": _text_to_video,
        "videomae": _videomae,
        "card": _card,
    }
    parser.add_argument("--stages", nargs="+", choices=stages, default=list(stages))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for stage in arguments.stages:
        stages[stage](arguments.work, arguments.out)


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
    tokenizer = make_tokenizer(work / "tokenizer")
    latents = vae.encoded(autoencoder, rendered("text-to-video", _LATENT_CLIPS, work), work)
    words = CLIPModel.from_pretrained(out / "clip", dtype=torch.float32)
    model = text_to_video.TextToVideo(words, vae.LATENT_CHANNELS)
    texts = captions(draw_clips("text-to-video", _LATENT_CLIPS))
    text_to_video.train(model, tokenizer, latents, texts, work, steps=3600)
    text_to_video.save(model.eval(), autoencoder, tokenizer, out / "text-to-video")


def _videomae(work: Path, out: Path) -> None:
    model = videomae.build()
    clips = draw_clips("train", _TRAIN_CLIPS)
    videomae.train(model, rendered("train", _TRAIN_CLIPS, work), clips, work, steps=2500)
    export_videomae(model.eval(), out / "videomae")


def _card(work: Path, out: Path) -> None:
    write_card(work, out)
    write_digests(out)


if __name__ == "__main__":
    main()
