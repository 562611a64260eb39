from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from vader_bench.errors import UserError
from vader_bench.rewards.clip import HumanPreference, cosine
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from vader_bench.weights import open_clip
from vader_bench.weights.open_clip import VIT_H_14, Architecture, Tower, load_open_clip

TINY = Architecture(
    vision=Tower(width=24, layers=3, heads=4),
    text=Tower(width=16, layers=2, heads=2),
    embedding=12,
    patch=8,
    grid=2,
    context=32,
    vocabulary=514,
)
State = dict[str, Tensor]


def random_state(architecture: Architecture = TINY) -> State:
    """Tensors in OpenCLIP's layout, none of them 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: 0.3 * torch.randn(shape, generator=generator) + ("ln_" in key and "weight" in key)
        for key, shape in open_clip._shapes(architecture)
    }


def norm(state: State, key: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{key}.weight"], state[f"{key}.bias"])


def tower(state: State, prefix: str, size: Tower, x: Tensor, *, causal: bool) -> Tensor:
    """OpenCLIP's residual blocks on ``x`` [B, N, D], from its own keys."""
    for i in range(size.layers):
        weights = {
            key.removeprefix(f"{prefix}.resblocks.{i}."): value
            for key, value in state.items()
            if key.startswith(f"{prefix}.resblocks.{i}.")
        }
        joint = functional.linear(
            norm(weights, "ln_1", x), weights["attn.in_proj_weight"], weights["attn.in_proj_bias"]
        )
        q, k, v = (
            part.unflatten(-1, (size.heads, -1)).transpose(1, 2) for part in joint.split(size.width, dim=-1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(size.width // size.heads)
        if causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + functional.linear(mixed, weights["attn.out_proj.weight"], weights["attn.out_proj.bias"])
        hidden = functional.linear(
            norm(weights, "ln_2", x), weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"]
        )
        hidden = functional.gelu(hidden)
        x = x + functional.linear(hidden, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])
    return x


def image_embeddings(state: State, pictures: Tensor) -> Tensor:
    patches = functional.conv2d(pictures, state["visual.conv1.weight"], stride=TINY.patch).flatten(2)
    first = state["visual.class_embedding"].expand(len(pictures), 1, -1)
    x = torch.cat([first, patches.transpose(1, 2)], dim=1) + state["visual.positional_embedding"]
    x = tower(state, "visual.transformer", TINY.vision, norm(state, "visual.ln_pre", x), causal=False)
    return norm(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]


def text_embeddings(state: State, tokens: Tensor) -> Tensor:
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
    x = norm(state, "ln_final", tower(state, "transformer", TINY.text, x, causal=True))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ state["text_projection"]


def save(state: State, path: Path, **more: object) -> Path:
    torch.save({"state_dict": state, **more} if more else state, path)
    return path


def random_pictures() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def random_tokens() -> Tensor:
    """Prompts of different lengths, padded with 0 as OpenCLIP does."""
    tokens = torch.randint(1, 512, (3, 32), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = 512
    for row, length in enumerate((5, 17, 31)):
        tokens[row, length], tokens[row, length + 1 :] = 513, 0
    return tokens


@torch.no_grad()
def test_both_towers_compute_what_open_clip_does(tmp_path: Path) -> None:
    state = random_state()
    clip = load_open_clip(save(state, tmp_path / "hps.pt"), TINY)
    expected = image_embeddings(state, random_pictures())
    assert expected.std(0).min() > 1e-2  # pictures make a difference
    torch.testing.assert_close(clip.get_image_features(random_pictures()), expected, rtol=1e-4, atol=1e-5)
    expected = text_embeddings(state, random_tokens())
    assert expected.std(0).min() > 1e-2
    torch.testing.assert_close(clip.get_text_features(random_tokens()), expected, rtol=1e-4, atol=1e-5)
    assert clip.logit_scale.item() == state["logit_scale"].item()


def test_the_model_is_frozen_whole_and_in_single_precision(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in random_state().items()}
    clip = load_open_clip(save(state, tmp_path / "hps.pt", epoch=3), TINY)
    assert not clip.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in clip.parameters())
    assert sum(p.numel() for p in clip.parameters()) == sum(value.numel() for value in state.values())


def test_the_released_architecture_has_the_released_size() -> None:
    """OpenCLIP counts 986.11 million parameters for ViT-H-14."""
    count = sum(math.prod(shape) for _, shape in open_clip._shapes(VIT_H_14))
    assert round(count / 1e6, 2) == 986.11


def test_the_released_architecture_fills_every_weight_of_the_model() -> None:
    """On the meta device, where tensors have shapes and no content."""
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in open_clip._shapes(VIT_H_14)}
        wanted = CLIPModel(open_clip._config(VIT_H_14)).state_dict()
    converted = open_clip.convert(state, VIT_H_14)
    assert {key: value.shape for key, value in converted.items()} == {k: v.shape for k, v in wanted.items()}


def test_every_key_that_is_amiss_is_named(tmp_path: Path) -> None:
    state = random_state()
    del state["visual.proj"], state["transformer.resblocks.1.ln_1.bias"]
    state |= {"visual.conv2.weight": torch.zeros(1), "step": torch.zeros(1)}
    state["ln_final.weight"] = torch.zeros(3)
    state["logit_scale"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        load_open_clip(save(state, tmp_path / "hps.pt"), TINY)
    assert caught.value.wrong == (
        "lacks transformer.resblocks.1.ln_1.bias; lacks visual.proj; "
        "has an unknown step; has an unknown visual.conv2.weight; "
        "has ln_final.weight of shape [3], not [16]; has logit_scale of shape [1], not []"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as weights, since it is empty; download it again"),
        (b"not weights at all", r"cannot be read as weights; give HPS_v2_compressed\.pt"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "hps.pt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_open_clip(tmp_path / "hps.pt", TINY)


def test_no_code_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": random_state(), "args": Path("x")}, tmp_path / "hps.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_open_clip(tmp_path / "hps.pt", TINY)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {"a": 1}}, {"epoch": 3}])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "hps.pt")
    with pytest.raises(UserError, match="is not a table of tensors by name"):
        load_open_clip(tmp_path / "hps.pt", TINY)


@pytest.fixture
def tiny_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny checkpoint where the released one is expected."""
    monkeypatch.setattr(open_clip, "VIT_H_14", TINY)
    return save(random_state(), tmp_path / "HPS_v2.1_compressed.pt", epoch=1)


@torch.no_grad()
def test_hps_takes_a_released_file(tiny_file: Path, tiny_clip: Path) -> None:
    video = torch.rand(2, 3, 3, 20, 24, generator=torch.Generator().manual_seed(3))
    reward = HumanPreference.load(str(tiny_file), tokenizer=str(tiny_clip))
    prompts = ["a cat", "a blue car"]
    tokens = torch.zeros(2, 32, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        words = prompt.split()
        ids = [512, *(i for word in words for i in byte_tokens(word)), 513]
        tokens[row, : len(ids)] = torch.tensor(ids)
    frames = Preprocess(16, CLIP_MEAN, CLIP_STD)(video.flatten(0, 1))
    image = image_embeddings(random_state(), frames).reshape(2, 3, -1)
    expected = cosine(image, text_embeddings(random_state(), tokens)[:, None]).mean(1)
    torch.testing.assert_close(reward.score(video, prompts), expected, rtol=1e-4, atol=1e-5)


def byte_tokens(word: str) -> list[int]:
    """What the tiny tokenizer makes of a word: its letters, the last one marked as the end."""
    letters = [ord(letter) - ord("!") for letter in word]
    return [*letters[:-1], letters[-1] + 256]


def test_hps_from_a_file_needs_a_tokenizer(tiny_file: Path) -> None:
    with pytest.raises(UserError, match=r"is a file, which has no tokenizer; set `tokenizer`"):
        HumanPreference.load(str(tiny_file))
