"""Tiny stand-ins that every test can share: a random video model, random rewards, a closed-form reward."""

from __future__ import annotations

import copy
import gc
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import commands
from tests.support.reward_server import red, serving
from vader_bench.launch import start

if TYPE_CHECKING:  # who only hands the tests out to others is spared the libraries of networks
    from tests.support.benches import MakeBench, Stand
    from vader_bench.backbones import Backbone

# how fast examples are drawn says how busy the machine is, and nothing about the code
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.register_profile("many", settings.get_profile("suite"))  # of tests/faults: see support/fuzz.py
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while the tests are imported, and never among what they import.

    That is most of what is in memory, and takes half a second each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``TextToVideoSDPipeline`` folder: latents 4 x 4 x 4 x 4 (C, F, h, w), pictures 8 x 8."""
    from tests.support import tiny

    folder = tmp_path_factory.mktemp("tiny-pipeline")
    tiny.save_pipeline(folder)
    return folder


@pytest.fixture(scope="session")
def _read_once(tiny_pipeline: Path) -> Backbone:
    """The tiny model as it is loaded, to be copied: reading takes ten times as long."""
    from vader_bench.backbones import BACKBONES

    return BACKBONES.get("modelscope").load(tiny_pipeline, frames=4)


@pytest.fixture
def tiny_backbone(_read_once: Backbone) -> Backbone:
    """A fresh copy of the tiny model."""
    return copy.deepcopy(_read_once)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A random ``CLIPModel`` folder in half precision: pictures 16 x 16, embeddings of width 12."""
    import torch

    from tests.support import tiny

    folder = tmp_path_factory.mktemp("tiny-clip")
    shutil.copytree(tiny_pipeline / "tokenizer", folder, dirs_exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tiny.clip().half().save_pretrained(folder)
    tiny.save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random aesthetic head for the tiny CLIP."""
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("tiny-head") / "head.safetensors"
    weight = torch.randn(12, generator=torch.Generator().manual_seed(2))
    save_file({"weight": weight, "bias": torch.tensor([5.0])}, path)
    return path


@pytest.fixture(scope="session")
def tiny_videomae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``VideoMAEForVideoClassification`` folder: 4 frames 16 x 16, four classes."""
    import torch

    from tests.support import tiny

    folder = tmp_path_factory.mktemp("tiny-videomae")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        tiny.videomae().half().save_pretrained(folder)
    tiny.save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``YolosForObjectDetection`` folder: patches of 8, ten boxes, a book and a cup."""
    import torch

    from tests.support import tiny

    folder = tmp_path_factory.mktemp("tiny-yolos")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        tiny.yolos().half().save_pretrained(folder)
    tiny.save_preprocessor(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_vjepa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ``VJEPA2Model`` folder: 4 frames 32 x 32, grid of 2 x 4 x 4 patches."""
    import torch

    from tests.support import tiny

    folder = tmp_path_factory.mktemp("tiny-vjepa")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        tiny.vjepa().half().save_pretrained(folder)
    tiny.save_preprocessor(folder, "video_preprocessor_config.json")
    return folder


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a random Qwen2-VL."""
    from tests.support import qwen

    return qwen.write_base(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def tiny_hpsv3(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of HPSv3 on it."""
    from tests.support import qwen

    return qwen.write_hpsv3(tiny_qwen, tmp_path_factory.mktemp("hpsv3") / "HPSv3.safetensors")


@pytest.fixture(scope="session")
def tiny_videoalign(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random VideoReward on it."""
    from tests.support import qwen

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
    if metering := sys.modules.get("vader_bench.budget.metering"):
        monkeypatch.setattr(metering, "_COUNTED", {})


@pytest.fixture
def make_bench(_read_once: Backbone, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Returns a workbench on a fresh copy of the tiny model; see ``make_stand`` for its arguments.

    FLOPs are made up unless ``count_flops`` is set, since counting takes longer than all else.
    """
    from tests.support.benches import make_stand
    from vader_bench.budget import metering

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
