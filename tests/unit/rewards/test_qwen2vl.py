"""Qwen2-VL as a judge: its preprocessing is transformers' own, its states are the network's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor, smart_resize

from tests.support import qwen
from vader_bench.errors import UserError
from vader_bench.rewards import make_reward
from vader_bench.rewards.base import reward_skeleton
from vader_bench.rewards.hpsv3 import HPSv3
from vader_bench.rewards.qwen2vl import (
    QwenPatches,
    instruction,
    plain_names,
    qwen_config,
    refuse_marks,
    smart_size,
)
from vader_bench.rewards.videoalign import VideoAlign

PROMPTS = ["a red cat", "two dogs that run"]
BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
AFTER = "<|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
PIXELS = 256 * 28 * 28


def videos(batch: int = 2, frames: int = 4, height: int = 40, width: int = 60) -> Tensor:
    """Videos of whole steps of 256, as files have them."""
    values = torch.randint(
        0, 256, (batch, frames, 3, height, width), generator=torch.Generator().manual_seed(0)
    )
    return values / 255


def smooth(video: Tensor) -> Tensor:
    """Slopes in the form of ``video``, in steps as files have them."""
    height, width = video.shape[-2:]
    slope = torch.linspace(0.1, 0.5, height)[:, None] + torch.linspace(0, 0.4, width)
    return (slope.expand_as(video) * 255).round() / 255


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("videoalign", "fdb6309bac618dd0c8b1b589d3a0970a974f7856eecbb355a190b2dce54af700"),
        ("hpsv3", "f6ee57479d4e9eee76b49c00dc962e1e696a5a2b3cc32cebd9b1fa76fe27502c"),
    ],
)
def test_instructions_are_those_of_the_training_to_the_letter(name: str, digest: str) -> None:
    """Digests of the texts in KwaiVGI/VideoAlign's and MizzenAI/HPSv3's code."""
    assert hashlib.sha256(instruction(name).encode()).hexdigest() == digest
    assert [instruction(name).count(mark) for mark in qwen.MARKS[name]] == [1] * len(qwen.MARKS[name])


@pytest.mark.parametrize("size", [(480, 832), (20, 24), (1080, 1920), (30, 3000), (448, 448), (64, 64)])
@pytest.mark.parametrize("limits", [(3136, 1003520), (128 * 784, PIXELS), (PIXELS, PIXELS)])
def test_sizes_are_those_of_transformers(size: tuple[int, int], limits: tuple[int, int]) -> None:
    height, width = size
    assert smart_size(height, width, 28, *limits) == smart_resize(height, width, 28, *limits)


@pytest.mark.parametrize(
    ("frames", "size"), [(4, (392, 504)), (1, (392, 504)), (3, (200, 300)), (2, (600, 800))]
)
def test_patches_are_those_of_transformers_processor(frames: int, size: tuple[int, int]) -> None:
    """Noise of a fitting size to the last digits; smooth frames of others within Pillow's rounding."""
    config = Qwen2VLConfig().vision_config
    video = videos(1, frames, *size)
    if size != (392, 504):
        video = smooth(video)
    found = QwenPatches(config, 128 * 784, PIXELS)(video)
    processor = Qwen2VLImageProcessor(min_pixels=128 * 784, max_pixels=PIXELS)
    pictures = [
        Image.fromarray(frame) for frame in (video[0].permute(0, 2, 3, 1) * 255).round().byte().numpy()
    ]
    if frames == 1:
        theirs = processor(images=pictures, return_tensors="pt")
        patches, grid = theirs["pixel_values"], theirs["image_grid_thw"]
    else:
        theirs = processor(images=None, videos=[pictures], return_tensors="pt")
        patches, grid = theirs["pixel_values_videos"], theirs["video_grid_thw"]
    assert list(found.shape[1:4]) == grid[0].tolist()
    exact = size == (392, 504)
    step = 0 if exact else 1 / 255 / 0.26
    torch.testing.assert_close(found[0].flatten(0, 2), patches, atol=step + 1e-5, rtol=0)


def test_a_resized_picture_is_pillows(tmp_path: Path) -> None:
    """Bicubic, as qwen-vl-utils resizes pictures, on smooth ones, where nothing is clamped."""
    rows = np.linspace(20, 230, 300)[None, :, None] * np.ones((200, 1, 3))
    picture = Image.fromarray(rows.round().astype(np.uint8))
    video = torch.from_numpy(np.asarray(picture) / 255).permute(2, 0, 1).float()
    patches = QwenPatches(Qwen2VLConfig().vision_config, PIXELS, PIXELS)
    height, width = smart_size(200, 300, 28, PIXELS, PIXELS)
    theirs = np.asarray(picture.resize((width, height))) / 255
    found = patches.reshape(video).permute(1, 2, 0).numpy()
    assert abs(found - theirs).max() <= 1.01 / 255


def question(tokenizer: Any, name: str, pad: str, count: int, prompt: str) -> Tensor:
    """Return the tokens [1, L] of the whole question, as the models' code makes them with the processor."""
    text = instruction(name).format(text_prompt=prompt)
    return tokenizer(BEFORE + pad * count + AFTER.format(text), return_tensors="pt").input_ids  # type: ignore[no-any-return]


@torch.no_grad()
def states(network: Qwen2VLForConditionalGeneration, ids: Tensor, patches: Tensor, pad: int) -> Tensor:
    """Return the last states [L, D], with positions one after the other, as both models' code has them."""
    batch, *grid, _ = patches.shape
    seen = network.model.visual(patches.flatten(0, 3), grid_thw=torch.tensor([grid] * batch))
    embedded = network.model.language_model.embed_tokens(ids)
    embedded = embedded.masked_scatter((ids == pad)[..., None].expand_as(embedded), seen)
    positions = torch.arange(ids.shape[1])[None]
    hidden = network.model.language_model(
        inputs_embeds=embedded, position_ids=positions, attention_mask=torch.ones_like(ids)
    )
    return hidden.last_hidden_state[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def hpsv3(tiny_qwen: Path, tiny_hpsv3: Path) -> HPSv3:
    made = make_reward("hpsv3", {"model": str(tiny_hpsv3), "base": str(tiny_qwen), "precision": "float32"})
    assert isinstance(made, HPSv3)
    return made


@torch.no_grad()
def test_hpsv3_is_the_mean_of_what_the_network_says_of_each_frame(hpsv3: HPSv3, tiny_qwen: Path) -> None:
    video = videos(2, 2)
    found = hpsv3.score(video, PROMPTS)
    network, tokenizer = qwen.resized(tiny_qwen, "hpsv3")
    mark, pad = (tokenizer.convert_tokens_to_ids(token) for token in ("<|Reward|>", "<|image_pad|>"))
    patches, head = QwenPatches(network.config.vision_config, PIXELS, PIXELS), qwen.hpsv3_head()
    for row, prompt in enumerate(PROMPTS):
        wanted = []
        for frame in video[row]:
            cut = patches(frame[None, None])
            ids = question(tokenizer, "hpsv3", "<|image_pad|>", cut[..., 0].numel() // 4, prompt)
            hidden = states(network, ids, cut, pad)
            wanted.append(head(hidden[ids[0] == mark])[0, 0])
        torch.testing.assert_close(found[row], torch.stack(wanted).mean(), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("whole", [True, False], ids=["model.pth", "adapters"])
def test_videoalign_is_the_sum_of_normalised_scores(
    outputs: int, whole: bool, tiny_qwen: Path, tmp_path: Path
) -> None:
    folder = qwen.write_videoalign(tiny_qwen, tmp_path / "reward", outputs=outputs, whole=whole)
    settings = {"model": str(folder), "base": str(tiny_qwen), "frames": 4, "precision": "float32"}
    video = videos()
    network, tokenizer = qwen.resized(tiny_qwen, "videoalign")
    for name, (down, up) in qwen.adapters(network).items():
        network.get_submodule(name).weight.data += qwen.ALPHA / qwen.RANK * (up @ down)
    marks = [tokenizer.convert_tokens_to_ids(mark) for mark in qwen.MARKS["videoalign"]]
    pad = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    head = qwen.videoalign_head(outputs)
    cut = QwenPatches(network.config.vision_config, 128 * 784, PIXELS)(video)
    each: dict[str, list[Tensor]] = {"VQ": [], "MQ": [], "TA": []}
    for row, prompt in enumerate(PROMPTS):
        ids = question(tokenizer, "videoalign", "<|video_pad|>", cut[row, ..., 0].numel() // 4, prompt)
        hidden = states(network, ids, cut[row : row + 1], pad)
        for index, (name, mark) in enumerate(zip(each, marks, strict=True)):
            raw = head(hidden[ids[0] == mark])[0, index if outputs == 3 else 0]
            each[name].append((raw - qwen.NORM[f"{name}_mean"]) / qwen.NORM[f"{name}_std"])
    total = torch.stack([torch.stack(scores) for scores in each.values()]).sum(0)
    torch.testing.assert_close(
        make_reward("videoalign", settings).score(video, PROMPTS), total, atol=1e-4, rtol=1e-4
    )
    motion = make_reward("videoalign", settings | {"dimensions": ["MQ"]})
    torch.testing.assert_close(motion.score(video, PROMPTS), torch.stack(each["MQ"]), atol=1e-4, rtol=1e-4)


def test_names_of_todays_transformers_are_taken_too(tiny_qwen: Path, hpsv3: HPSv3, tmp_path: Path) -> None:
    path = qwen.write_hpsv3(tiny_qwen, tmp_path / "HPSv3.safetensors", old=False)
    made = make_reward("hpsv3", {"model": str(path), "base": str(tiny_qwen), "precision": "float32"})
    for ours, theirs in zip(made.modules(), hpsv3.modules(), strict=True):
        assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())
    assert plain_names({"lm_head.weight": torch.ones(1), "rm_head.weight": torch.ones(1)}).keys() == {
        "rm_head.weight"
    }


def test_in_bfloat16_the_head_of_hpsv3_stays_as_it_is(
    tiny_qwen: Path, tiny_hpsv3: Path, hpsv3: HPSv3
) -> None:
    made = make_reward("hpsv3", {"model": str(tiny_hpsv3), "base": str(tiny_qwen)})
    kinds = {
        name.startswith("rm_head"): weight.dtype for name, weight in made.modules()[0].named_parameters()
    }
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    video = videos(1, 1).requires_grad_()
    judged = made.judge(video, PROMPTS[:1])
    assert judged.score.dtype == torch.float32
    torch.testing.assert_close(judged.score, hpsv3.score(video, PROMPTS[:1]), atol=0.3, rtol=0.3)
    judged.objective.sum().backward()
    assert video.grad is not None
    assert video.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("family", "model", "base", "billions"),
    [
        ("hpsv3", "hf:MizzenAI/HPSv3:HPSv3.safetensors", "hf:Qwen/Qwen2-VL-7B-Instruct", (7.7, 7.8)),
        ("videoalign", "hf:KwaiVGI/VideoReward", "hf:Qwen/Qwen2-VL-2B-Instruct", (2.2, 2.22)),
    ],
)
def test_the_released_models_are_known_without_their_weights(
    family: str, model: str, base: str, billions: tuple[float, float]
) -> None:
    """8.29 billion less the output layer of 0.54, and 2.21: the sizes that model cards give."""
    reward = reward_skeleton(family, {"model": model, "base": base})
    count = sum(weight.numel() for weight in reward.modules()[0].parameters()) / 1e9
    assert billions[0] < count < billions[1]
    assert isinstance(reward, HPSv3 | VideoAlign)


def test_a_prompt_that_holds_a_mark_is_refused(hpsv3: HPSv3) -> None:
    with pytest.raises(UserError, match=r"holds <\|Reward\|>, which is a mark"):
        hpsv3.score(videos(1, 1), ["a cat <|Reward|>"])
    refuse_marks("a {text_prompt} < | > b")
    assert torch.isfinite(hpsv3.score(videos(1, 1), ["{text_prompt} {} %s"])).all()


def test_what_is_no_checkpoint_is_refused(
    tiny_qwen: Path, tiny_hpsv3: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    base = str(tiny_qwen)
    with pytest.raises(UserError, match=r"has no model_config\.json"):
        make_reward("videoalign", {"model": base, "base": base})
    (tmp_path / "model_config.json").write_text("{}", "utf-8")
    with pytest.raises(UserError, match="has no checkpoint-<step>"):
        make_reward("videoalign", {"model": str(tmp_path), "base": base})
    (tmp_path / "model_config.json").write_text('{"model_config": {"output_dim": 4}}', "utf-8")
    with pytest.raises(UserError, match=r"model_config.output_dim: is 4"):
        make_reward("videoalign", {"model": str(tmp_path), "base": base})
    with pytest.raises(UserError, match=r"has a tokenizer without <\|im_start\|>"):
        make_reward("hpsv3", {"model": str(tiny_hpsv3), "base": str(tiny_clip)})
    with pytest.raises(UserError, match=r"lacks model.language_model"):
        make_reward("hpsv3", {"model": str(tiny_clip / "model.safetensors"), "base": base})
    with pytest.raises(UserError, match="type 'clip'; give one of type 'qwen2_vl'"):
        qwen_config(str(tiny_clip))
