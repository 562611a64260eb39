from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.rewards.clip import Aesthetic, AestheticHead, HumanPreference, cosine, read_head

PROMPTS = ["a red cat", "a blue car jumping in the snow"]
LAION_WIDTHS = [768, 1024, 128, 64, 16, 1]
LAION_SHA256 = "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"


def clips() -> Tensor:
    return torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def laion_layers() -> nn.Sequential:
    """Random layers under the released file's names: the gaps are its dropouts."""
    steps: list[nn.Module] = []
    for i in range(5):
        steps += [nn.Linear(LAION_WIDTHS[i], LAION_WIDTHS[i + 1])] + [nn.Dropout()] * (i < 3)
    return nn.Sequential(*steps).eval()


def save_laion(layers: nn.Sequential, path: Path) -> None:
    torch.save({f"layers.{key}": value for key, value in layers.state_dict().items()}, path)


def released_head() -> Path:
    golden = os.environ.get("VADER_BENCH_GOLDEN")
    folder = Path(golden) if golden else Path(__file__).parents[4] / "shared" / "golden"
    path = folder.parent / "weights" / "sac+logos+ava1-l14-linearMSE.pth"
    if not path.exists():
        pytest.skip(f"no released aesthetic head at {path}")
    assert sha256_file(path) == LAION_SHA256
    return path


def test_head_rates_the_direction_alone() -> None:
    head = AestheticHead(torch.tensor([3.0, 4.0]), torch.tensor([5.0]))
    ratings = head(torch.tensor([[1.0, 0.0], [0.0, 10.0], [0.3, 0.4], [-6.0, -8.0]]))
    torch.testing.assert_close(ratings, torch.tensor([8.0, 9.0, 10.0, 0.0]))
    assert head.bounds() == pytest.approx((0.0, 10.0))


def test_read_head_from_safetensors(tmp_path: Path) -> None:
    tensors = {"weight": torch.arange(3.0).half(), "bias": torch.tensor([5.0]).half()}
    save_file(tensors, tmp_path / "head.safetensors")
    head = read_head(tmp_path / "head.safetensors")
    assert head.weight.tolist() == [0.0, 1.0, 2.0]
    assert head.bias.tolist() == [5.0]
    assert head.weight.dtype == torch.float32


def test_folded_layers_equal_the_layers_in_turn(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = laion_layers()
    save_laion(layers, tmp_path / "head.pth")
    embeddings = nn.functional.normalize(torch.randn(9, 768, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        expected = layers.double()(embeddings.double()).squeeze(1).float()
    torch.testing.assert_close(read_head(tmp_path / "head.pth")(embeddings), expected, rtol=1e-5, atol=1e-6)


def test_released_head_is_the_known_affine_function() -> None:
    head = read_head(released_head())
    assert head.weight.shape == (768,)
    assert head.weight.norm().item() == pytest.approx(17.996, abs=1e-3)
    assert head.bias.item() == pytest.approx(5.2366, abs=1e-4)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(3)}, "is not an aesthetic head"),
        ({"layers.0.weight": torch.zeros(3), "layers.0.bias": torch.zeros(1)}, "is not an aesthetic head"),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, r"has weight \[1, 3\] and bias \[1\]"),
    ],
)
def test_read_head_refuses_other_tensors(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "head.safetensors")
    torch.save(tensors, tmp_path / "head.pth")
    for name in ("head.safetensors", "head.pth"):
        with pytest.raises(UserError, match=message):
            read_head(tmp_path / name)


def test_read_head_refuses_layers_with_something_between(tmp_path: Path) -> None:
    """The compression predictor has activations between its layers and must not be folded."""
    torch.save({f"layers.{i}.{k}": torch.zeros(1) for i in (0, 3, 6, 9) for k in ("weight", "bias")},
               tmp_path / "compression.pt")  # fmt: skip
    with pytest.raises(UserError, match="is not an aesthetic head"):
        read_head(tmp_path / "compression.pt")


@pytest.mark.parametrize("name", ["head.safetensors", "head.pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_read_head_refuses_other_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_head(tmp_path / name)


def test_read_head_runs_no_code(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3), "bias": Path("x")}, tmp_path / "head.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_head(tmp_path / "head.pth")


def test_cosine_pairs_each_with_its_own() -> None:
    image = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    text = torch.tensor([[5.0, 0.0], [7.0, 0.0], [-1.0, -1.0]])
    torch.testing.assert_close(cosine(image, text), torch.tensor([1.0, 0.0, -1.0]))


@torch.no_grad()
def reference_embeddings(folder: Path, video: Tensor) -> Tensor:
    """Image embeddings [B * F, D] straight from transformers."""
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    mean = torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    std = torch.tensor([0.2, 0.25, 0.3])[:, None, None]
    embeddings: Tensor = clip.get_image_features((video.flatten(0, 1) - mean) / std)
    return embeddings


def test_aesthetic_is_the_mean_rating_of_the_frames(tiny_clip: Path, tiny_head: Path) -> None:
    reward = Aesthetic.load(str(tiny_clip), str(tiny_head))
    ratings = read_head(tiny_head)(reference_embeddings(tiny_clip, clips())).reshape(2, 3)
    torch.testing.assert_close(reward.score(clips(), PROMPTS), ratings.mean(1), rtol=1e-5, atol=1e-6)


def test_aesthetic_range_is_what_the_head_can_reach(tiny_clip: Path, tiny_head: Path) -> None:
    head = read_head(tiny_head)
    length = math.sqrt(sum(w**2 for w in head.weight.tolist()))
    assert Aesthetic.load(str(tiny_clip), str(tiny_head)).value_range == pytest.approx(
        (5 - length, 5 + length)
    )
    assert head(head.weight).item() == pytest.approx(5 + length)


def test_aesthetic_keeps_no_text_tower(tiny_clip: Path, tiny_head: Path) -> None:
    reward = Aesthetic.load(str(tiny_clip), str(tiny_head))
    names = [name for network in reward.modules() for name, _ in network.named_parameters()]
    assert any(name.startswith("vision_model") for name in names)
    assert not any(name.startswith("text") for name in names)


def test_aesthetic_refuses_the_head_of_another_clip(tiny_clip: Path, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(768), "bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    with pytest.raises(UserError, match=r"embeddings of width 768, and .* has 12"):
        Aesthetic.load(str(tiny_clip), str(tmp_path / "head.safetensors"))


@torch.no_grad()
def test_hps_is_the_mean_cosine_of_frames_and_prompt(tiny_clip: Path) -> None:
    """The reference sees each prompt alone and unpadded."""
    clip = CLIPModel.from_pretrained(tiny_clip, dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(tiny_clip)
    image = reference_embeddings(tiny_clip, clips()).reshape(2, 3, 12)
    expected = []
    for frames, prompt in zip(image, PROMPTS, strict=True):
        text = clip.get_text_features(**tokenizer([prompt], return_tensors="pt"))
        expected.append(nn.functional.cosine_similarity(frames, text).mean())
    score = HumanPreference.load(str(tiny_clip)).score(clips(), PROMPTS)
    torch.testing.assert_close(score, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_hps_listens_to_the_prompt(tiny_clip: Path) -> None:
    reward = HumanPreference.load(str(tiny_clip))
    same = clips()[:1].expand(2, -1, -1, -1, -1)
    first, second = reward.score(same, PROMPTS).tolist()
    assert abs(first - second) > 1e-3


def test_hps_cuts_long_prompts(tiny_clip: Path) -> None:
    reward = HumanPreference.load(str(tiny_clip))
    long = "word " * 100
    score = reward.score(clips(), [long, long + "more"])
    assert torch.isfinite(score).all()
    torch.testing.assert_close(score[:1], reward.score(clips()[:1], [long + "more"]), rtol=1e-5, atol=1e-6)


@pytest.fixture
def spoilt(tiny_clip: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_clip, tmp_path / "clip"))


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_hps_needs_its_tokenizer(spoilt: Path, name: str) -> None:
    (spoilt / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        HumanPreference.load(str(spoilt))


def set_end_token(folder: Path, token: int) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["text_config"]["eos_token_id"] = token
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def test_hps_refuses_a_model_that_would_miss_the_end_of_sentences(spoilt: Path) -> None:
    set_end_token(spoilt, 100)
    with pytest.raises(UserError, match="ends sentences with token 513, the model looks for 100"):
        HumanPreference.load(str(spoilt))


def test_hps_knows_the_old_way_to_name_the_end_token(spoilt: Path, tiny_clip: Path) -> None:
    set_end_token(spoilt, 2)
    expected = HumanPreference.load(str(tiny_clip)).score(clips(), PROMPTS)
    torch.testing.assert_close(HumanPreference.load(str(spoilt)).score(clips(), PROMPTS), expected)


def test_the_head_of_version_1_is_one_linear_layer(tmp_path: Path) -> None:
    """``sa_0_4_vit_l_14_linear.pth``: the state of a ``Linear(768, 1)``, for embeddings of unit length."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(768, 1)
    torch.save(layer.state_dict(), tmp_path / "sa_0_4_vit_l_14_linear.pth")
    embeddings = torch.randn(9, 768, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = layer(nn.functional.normalize(embeddings))[:, 0]
    head = read_head(tmp_path / "sa_0_4_vit_l_14_linear.pth")
    torch.testing.assert_close(head(embeddings), expected)
    torch.save({"weight": torch.ones(2, 768), "bias": torch.ones(1)}, tmp_path / "two.pth")
    with pytest.raises(UserError, match=r"has weight \[2, 768\]"):
        read_head(tmp_path / "two.pth")
