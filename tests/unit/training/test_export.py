"""Exported adapters, loaded by diffusers and peft alone, predict what ours do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from tests.contract.test_backbones import CASES
from tests.support.adapters import TAKES_ADAPTERS, Make, load, maker, predict
from vader_bench.backbones.wan import Experts
from vader_bench.config.schema import SuiteConfig
from vader_bench.diffusion.lora import AdapterFile, Lora
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError
from vader_bench.training.export import AdapterForm, write_adapter

PIPELINES = ["modelscope", "svd", "wan", "wan/experts", "ltx"]


@pytest.fixture(scope="module")
def make(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tiny_pipeline / "tokenizer", tmp_path_factory)


def test_the_adapters_of_the_test_matter(make: Make) -> None:
    for name in CASES:
        suite, _, ours = make(name)
        assert (predict(load(suite)) - ours).abs().max() > 1e-3, name


@pytest.mark.parametrize("name", list(CASES))
def test_peft_takes_it_for_every_family(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, ours = make(name)
    (line,) = write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    assert line == f'model = PeftModel.from_pretrained(denoiser, "{tmp_path}")'
    backbone = load(suite)
    backbone.denoiser = PeftModel.from_pretrained(backbone.denoiser, str(tmp_path)).get_base_model()
    torch.testing.assert_close(predict(backbone), ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_merged_folder_is_a_pipeline(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, ours = make(name)
    (line,) = write_adapter(adapter, suite, AdapterForm.MERGED, tmp_path)
    assert line == f'pipe = DiffusionPipeline.from_pretrained("{tmp_path}")'
    torch.testing.assert_close(predict(load(suite, tmp_path)), ours, atol=1e-5, rtol=1e-5)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    part = next(part for part in ("unet", "transformer") if hasattr(pipeline, part))
    denoiser = load(suite, tmp_path).denoiser
    network = denoiser.high if isinstance(denoiser, Experts) else denoiser
    stored = getattr(pipeline, part).state_dict()
    assert all(torch.equal(weight, stored[key]) for key, weight in network.state_dict().items())


@pytest.mark.parametrize("name", TAKES_ADAPTERS)
def test_a_diffusers_pipeline_takes_it(name: str, make: Make, tmp_path: Path) -> None:
    """By the printed lines alone."""
    suite, adapter, ours = make(name)
    lines = write_adapter(adapter, suite, AdapterForm.DIFFUSERS, tmp_path)
    weights, _ = suite.backbone_weights()
    pipe = DiffusionPipeline.from_pretrained(weights)
    for line in lines:
        exec(line, {"pipe": pipe})
    backbone = load(suite)
    if isinstance(backbone.denoiser, Experts):
        backbone.denoiser = Experts(pipe.transformer, pipe.transformer_2, backbone.denoiser.boundary)
    else:
        backbone.denoiser = pipe.transformer
    torch.testing.assert_close(predict(backbone), ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["modelscope", "svd", "videocrafter2", "open-sora-1.2"])
def test_where_diffusers_takes_no_adapters_it_says_so(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, _ = make(name)
    with pytest.raises(UserError, match="has no pipeline in diffusers that takes adapters"):
        write_adapter(adapter, suite, AdapterForm.DIFFUSERS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merged_weights_keep_their_precision(make: Make, tmp_path: Path) -> None:
    """A folder in half precision stays one: the sums are rounded once."""
    suite, adapter, ours = make("wan")
    name, _ = suite.backbone_weights()
    half = tmp_path / "half"
    DiffusionPipeline.from_pretrained(name, torch_dtype=torch.bfloat16).save_pretrained(half)
    settings = suite.backbone.settings | {"weights": str(half)}
    changed = suite.model_copy(update={"backbone": suite.backbone.model_copy(update={"settings": settings})})
    write_adapter(adapter, changed, AdapterForm.MERGED, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for key, tensor in stored.items() if key.endswith("to_q.weight")} == {torch.bfloat16}
    torch.testing.assert_close(predict(load(suite, tmp_path / "out")), ours, atol=0.05, rtol=0.05)


def test_a_folder_that_is_no_pipeline_cannot_be_merged(make: Make, tmp_path: Path) -> None:
    suite, adapter, _ = make("open-sora-1.2")
    with pytest.raises(UserError, match="is no pipeline folder of diffusers"):
        write_adapter(adapter, suite, AdapterForm.MERGED, tmp_path)


@pytest.mark.parametrize("scheduler", ["euler", "unipc"])
def test_the_documented_script_of_wan_makes_our_videos(scheduler: str, make: Make, tmp_path: Path) -> None:
    """With the Euler scheduler, and with UniPC as in the released folders, which rounds timesteps down."""
    suite, adapter, _ = make("wan")
    weights, _ = suite.backbone_weights()
    if scheduler == "unipc":
        flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
        changed = DiffusionPipeline.from_pretrained(weights, scheduler=UniPCMultistepScheduler(**flow))
        changed.save_pretrained(weights)
    write_adapter(adapter, suite, AdapterForm.DIFFUSERS, tmp_path)
    size = {"height": 16, "width": 16, "num_frames": 5, "max_sequence_length": 32}
    found = run_documented(
        "WanPipeline",
        {
            r'"my-wan"': repr(weights),
            r'"exported"': repr(str(tmp_path)),
            r"randn\(1, 16, 5, 60, 104,": "randn(1, 4, 2, 2, 2,",
            r"size = .*": f"size = {size}",
            r"export_to_video\(.*": "",
        },
    )
    ours, base = our_videos(suite, adapter, found["noise"], rounded=scheduler == "unipc")
    assert (base - ours).abs().max() > 1e-3
    torch.testing.assert_close(torch.from_numpy(found["video"]), ours, atol=2e-5, rtol=1e-4)


def test_the_documented_script_of_a_merged_folder_makes_our_videos(make: Make, tmp_path: Path) -> None:
    suite, adapter, _ = make("modelscope")
    write_adapter(adapter, suite, AdapterForm.MERGED, tmp_path)
    found = run_documented(
        "TextToVideoSDPipeline",
        {
            r'"merged"': repr(str(tmp_path)),
            r"randn\(1, 12, 8, 8, 8,": "randn(1, 4, 4, 4, 4,",
            r"size = .*": "size = {'height': 8, 'width': 8, 'num_frames': 4}",
        },
    )
    ours, base = our_videos(suite, adapter, found["noise"])
    assert (base - ours).abs().max() > 1e-3
    torch.testing.assert_close(torch.from_numpy(found["video"]), ours, atol=2e-5, rtol=1e-4)


def run_documented(pipeline: str, changes: dict[str, str]) -> dict[str, Any]:
    """Return the names of the script of ``docs/python.md`` that imports ``pipeline``, of ten lines at most.

    Only paths and sizes are changed in it: what matches each pattern of ``changes``.
    """
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text("utf-8")
    scripts = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script: str = next(code for code in scripts if f"import {pipeline}" in code)
    assert len(list(filter(None, script.splitlines()))) <= 11, "ten lines, and one that saves the video"
    for pattern, tiny in changes.items():
        script, count = re.subn(pattern, tiny.replace("\\", r"\\"), script)
        assert count == 1, pattern
    found: dict[str, Any] = {}
    exec(script, found)
    return found


def our_videos(
    suite: SuiteConfig, adapter: AdapterFile, noise: Tensor, *, rounded: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the videos [F, H, W, 3] of the script's prompt, with the adapters and without.

    Args:
        suite: the model.
        adapter: its adapters.
        noise: the script's.
        rounded: whether the network is given whole timesteps below those of the sampler: 999 for 1000.
    """
    backbone, videos = load(suite), []
    lora = Lora(backbone.denoiser, adapter.targets, adapter.rank, torch.Generator())
    lora.load(adapter.weights)
    encoded = backbone.encode(["a red cat"])

    def denoise(latents: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        given = (timesteps - 1e-3).floor() if rounded else timesteps
        return backbone.denoise(latents, given, condition)

    sampler = Sampler(denoise, backbone.schedule, steps=8, eta=0.0, guidance=1.0)
    with torch.no_grad():
        for scale in (1.0, 0.0):
            lora.set_scale(scale)
            latents = sampler.plain(noise, encoded, backbone.unconditional(encoded))
            videos.append(backbone.decode(latents).clamp(0, 1)[0].permute(0, 2, 3, 1))
    return videos[0], videos[1]
