"""Tiny stand-ins that every test can share: a random video model, random rewards, a closed-form reward."""

from __future__ import annotations

import copy
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_synth import (
    TextToVideoSDPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VJEPA2Config,
    VJEPA2Model,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from tests.support import commands, qwen
from tests.support.benches import MakeBench, Stand, make_stand
from tests.support.reward_server import red, serving
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.budget import metering
from vader_bench.launch import start

# how fast examples are drawn says how busy the machine is, and nothing about the code
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.register_profile("many", settings.get_profile("suite"))  # of tests/faults: see support/fuzz.py
settings.load_profile("suite")


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``TextToVideoSDPipeline`` folder: latents 4 x 4 x 4 x 4 (C, F, h, w), pictures 8 x 8."""
    folder = tmp_path_factory.mktemp("tiny-pipeline")
    _tokenizer(folder / "tokenizer")
    save_scheduler(folder / "scheduler")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet, vae, text_encoder = _unet(), _vae(), _text_encoder()
    TextToVideoSDPipeline(
        vae,
        text_encoder,
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet,
        DDIMScheduler.from_pretrained(folder / "scheduler"),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def _read_once(tiny_pipeline: Path) -> Backbone:
    """The tiny model as it is loaded, to be copied: reading takes ten times as long."""
    return BACKBONES.get("modelscope").load(tiny_pipeline, frames=4)


@pytest.fixture
def tiny_backbone(_read_once: Backbone) -> Backbone:
    """A fresh copy of the tiny model."""
    return copy.deepcopy(_read_once)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A random ``CLIPModel`` folder in half precision: pictures 16 x 16, embeddings of width 12."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    shutil.copytree(tiny_pipeline / "tokenizer", folder, dirs_exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        _clip().half().save_pretrained(folder)
    _save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random aesthetic head for the tiny CLIP."""
    path = tmp_path_factory.mktemp("tiny-head") / "head.safetensors"
    weight = torch.randn(12, generator=torch.Generator().manual_seed(2))
    save_file({"weight": weight, "bias": torch.tensor([5.0])}, path)
    return path


@pytest.fixture(scope="session")
def tiny_videomae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``VideoMAEForVideoClassification`` folder: 4 frames 16 x 16, four classes."""
    folder = tmp_path_factory.mktemp("tiny-videomae")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        _videomae().half().save_pretrained(folder)
    _save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``YolosForObjectDetection`` folder: patches of 8, ten boxes, a book and a cup."""
    folder = tmp_path_factory.mktemp("tiny-yolos")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        _yolos().half().save_pretrained(folder)
    _save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_vjepa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``VJEPA2Model`` folder: 4 frames 32 x 32, grid of 2 x 4 x 4 patches."""
    folder = tmp_path_factory.mktemp("tiny-vjepa")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        _vjepa().half().save_pretrained(folder)
    _save_preprocessor(folder, "video_preprocessor_config.json")
    return folder


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a random Qwen2-VL."""
    return qwen.write_base(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def tiny_hpsv3(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of HPSv3 on it."""
    return qwen.write_hpsv3(tiny_qwen, tmp_path_factory.mktemp("hpsv3") / "HPSv3.safetensors")


@pytest.fixture(scope="session")
def tiny_videoalign(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random VideoReward on it."""
    return qwen.write_videoalign(tiny_qwen, tmp_path_factory.mktemp("videoalign") / "reward")


@pytest.fixture
def tiny_server() -> Iterator[str]:
    """Address of a reward server that likes red."""
    with serving(red) as (url, _):
        yield url


@pytest.fixture(scope="session")
def tiny_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own reward."""
    path = tmp_path_factory.mktemp("tiny-plugin") / "greenness.py"
    path.write_text(
        "def greenness(video, prompts):\n"
        "    return video[:, :, 1].square().mean((1, 2, 3)) - video[:, :, 0].mean((1, 2, 3))\n",
        "utf-8",
    )
    return path


@pytest.fixture(scope="session", autouse=True)
def _fewer_resamples() -> Iterator[None]:
    """Draw a tenth of the resamples wherever a test asks for no number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vader_bench.stats.bootstrap.RESAMPLES", commands.FEW_RESAMPLES)
        yield


@pytest.fixture(scope="session", autouse=True)
def _imported_once() -> Iterator[None]:
    """Let all workers and commands come from one process that has imported what any of them needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "PRELOADED", (*start.PRELOADED, *commands.PRELOADED))
        yield


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find the FLOPs that another one counted, or made up."""
    monkeypatch.setattr(metering, "_COUNTED", {})


@pytest.fixture
def make_bench(_read_once: Backbone, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Returns a workbench on a fresh copy of the tiny model; see ``make_stand`` for its arguments.

    FLOPs are made up unless ``count_flops`` is set, since counting takes longer than all else.
    """

    def make(*args: Any, count_flops: bool = False, **changes: Any) -> Stand:
        if not count_flops:
            monkeypatch.setattr(metering, "count_flops", lambda *_: (2, 3))
        return make_stand(copy.deepcopy(_read_once), *args, **changes)

    return make


@pytest.fixture
def interrupts_heard() -> Iterator[None]:
    """A shell starts what runs in the background deaf to interrupts, these tests among it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def save_scheduler(folder: Path, **changes: object) -> None:
    """Save the scheduler of the tiny model, with ``changes``."""
    settings: dict[str, object] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    }
    DDIMScheduler(**(settings | changes)).save_config(folder)


def _unet() -> UNet3DConditionModel:
    model: UNet3DConditionModel = UNet3DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=16,
    )
    return model


def _vae() -> AutoencoderKL:
    model: AutoencoderKL = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=8,
    )
    return model


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    )


def _tokenizer(folder: Path) -> None:
    """Save a tokenizer of single bytes: 256 of them, each also as the end of a word, and two marks."""
    folder.mkdir()
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    tokenizer = CLIPTokenizer(
        folder / "vocab.json", folder / "merges.txt", pad_token="<|endoftext|>", model_max_length=32
    )
    tokenizer.save_pretrained(folder)


def _clip() -> CLIPModel:
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.2,
    }
    words = {"vocab_size": 514, "max_position_embeddings": 64, "bos_token_id": 512}
    ends = {"eos_token_id": 513, "pad_token_id": 513}
    config = CLIPConfig(
        text_config=tower | words | ends,
        vision_config=tower | {"image_size": 16, "patch_size": 8},
        projection_dim=12,
        initializer_factor=5.0,  # so that pictures and prompts make a difference
    )
    return CLIPModel(config)


def _videomae() -> VideoMAEForVideoClassification:
    config = VideoMAEConfig(
        image_size=16,
        patch_size=8,
        num_frames=4,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        id2label={0: "spinning", 1: "moving left", 2: "moving", 3: "growing"},
    )
    return VideoMAEForVideoClassification(config)


def _yolos() -> YolosForObjectDetection:
    config = YolosConfig(
        image_size=[32, 48],
        patch_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_detection_tokens=10,
        initializer_range=0.5,
        use_mid_position_embeddings=True,
        id2label={0: "book", 1: "cup"},
    )
    model = YolosForObjectDetection(config)
    embeddings = model.vit.embeddings  # zero in a new model, so that all boxes would be one
    for tensor in (embeddings.detection_tokens, embeddings.position_embeddings):
        torch.nn.init.normal_(tensor)
    return model


def _vjepa() -> VJEPA2Model:
    config = VJEPA2Config(
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        tubelet_size=2,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        mlp_ratio=2.0,
        initializer_range=0.2,
        pred_hidden_size=12,
        pred_num_attention_heads=1,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=3,
        pred_zero_init_mask_tokens=False,
        pred_mlp_ratio=2.0,
    )
    return VJEPA2Model(config)


def _save_preprocessor(folder: Path, name: str = "preprocessor_config.json") -> None:
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"shortest_edge": 16}}
    (folder / name).write_text(json.dumps(settings), "utf-8")
