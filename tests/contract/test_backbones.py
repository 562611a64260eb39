"""What every registered family of backbones must do, shown on a tiny random model in the family's format."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.support import flow, open_sora, svd, videocrafter2
from tests.support.benches import PROMPTS, RedReward, Stand, make_stand
from vader_bench.backbones import BACKBONES, Backbone, ImageBackbone, memory
from vader_bench.backbones.memory import DTYPES, with_memory_switches
from vader_bench.budget import metering
from vader_bench.config.schema import MemoryConfig
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.methods import METHODS, Method
from vader_bench.seeding import torch_stream

SETTINGS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2, "updates_per_round": 1},
    "diffusion-dpo": {},
    "grpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "nft": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "raft": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "refl": {},
}
CALLS = {
    "vader": (4 * 3 * 2, 4 * 2 * 2),  # the last two steps have a backward
    "ddpo": (4 * 3 * 2 + 4 * 3 * 2, 4 * 3 * 2),  # sampling, then every step once more
    "diffusion-dpo": (4 * 3 * 2 + 4 + 4, 4),  # sampling, then model and base on two pairs
    "grpo": (4 * 3 * 2 + 4 * 2 * 2, 4 * 2 * 2),  # as ddpo, without the last step
    "nft": (
        4 * 3 * 2 + 4 * 3 * 3,
        4 * 3,
    ),  # sampling, then the old, the base and the trained model at each step
    "raft": (4 * 3 * 2 + 2, 2),  # sampling, then the model on two winners
    "refl": (4 * 3 * 2, 4 * 2),  # the last step has a backward
}
"""Forwards and backwards of the denoiser for 4 videos in 3 steps with guidance, which doubles a call."""


class Case(NamedTuple):
    """A tiny instance."""

    write: Callable[[Path, Path], object]
    """Saves it in the family's format to a folder, given a tokenizer's folder."""
    settings: dict[str, Any]
    adapters: int
    """Attention projections that LoRA finds."""
    pictures: tuple[int, int, int]
    """(f, H, W) of a video."""


def save_wan(folder: Path, tokenizer: Path) -> None:
    flow.wan_pipeline(tokenizer).save_pretrained(folder)


def save_wan_experts(folder: Path, tokenizer: Path) -> None:
    flow.wan_pipeline(tokenizer, experts=True).save_pretrained(folder)


def save_wan_image(folder: Path, tokenizer: Path) -> None:
    flow.wan_image_pipeline(tokenizer).save_pretrained(folder)


def save_wan_image_experts(folder: Path, tokenizer: Path) -> None:
    flow.wan_image_pipeline(tokenizer, experts=True).save_pretrained(folder)


def save_ltx(folder: Path, tokenizer: Path) -> None:
    flow.ltx_pipeline(tokenizer).save_pretrained(folder)


def link_modelscope(folder: Path, tokenizer: Path) -> None:
    folder.symlink_to(tokenizer.parent, target_is_directory=True)


def write_svd(folder: Path, _: Path) -> None:
    svd.write_model(folder)


WAN = {"frames": 5, "height": 16, "width": 16, "tokens": 32}
CASES = {
    "modelscope": Case(link_modelscope, {"frames": 4}, 72, (4, 8, 8)),
    "videocrafter2": Case(videocrafter2.write_model, {"height": 8, "width": 8}, 72, (4, 8, 8)),
    "svd": Case(write_svd, {"height": 16, "width": 24, "pictures": ""}, 64, (3, 16, 24)),
    "wan": Case(save_wan, WAN, 16, (5, 16, 16)),
    "wan/experts": Case(save_wan_experts, WAN, 32, (5, 16, 16)),
    "wan-i2v": Case(save_wan_image, WAN | {"pictures": ""}, 16, (5, 16, 16)),
    "wan-i2v/experts": Case(save_wan_image_experts, WAN | {"pictures": ""}, 32, (5, 16, 16)),
    "ltx": Case(save_ltx, {"frames": 3, "height": 32, "width": 32, "tokens": 32}, 16, (3, 32, 32)),
    "open-sora-1.2": Case(open_sora.write_model, {"frames": 17, "height": 8, "width": 6}, 12, (17, 8, 6)),
}
"""By family, with a variant after a slash."""


class Model(NamedTuple):
    """A case on disk."""

    family: str
    folder: Path
    case: Case
    settings: dict[str, Any]
    read: Backbone
    """It as it is loaded, to be looked at and copied."""

    def load(self, **settings: object) -> Backbone:
        """Return a fresh copy of it, which is faster than reading it again, as is done for other settings."""
        if not settings:
            return copy.deepcopy(self.read)
        return BACKBONES.get(self.family).load(self.folder, **(self.settings | settings))

    def stand(self, *, seed: int = 0, **memory: Any) -> Stand:
        """Return a workbench with guidance; the noise level is one that every schedule has."""
        backbone = with_memory_switches(self.load(), MemoryConfig(**memory))
        return make_stand(backbone, RedReward(frames=3), seed=seed, guidance=2.0, steps=3, eta=0.7)


def test_every_registered_family_is_held_to_this() -> None:
    assert set(BACKBONES.names()) == {name.partition("/")[0] for name in CASES}


@pytest.fixture(scope="module", params=CASES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path
) -> Model:
    return written(request.param, tmp_path_factory, tiny_pipeline / "tokenizer")


def written(name: str, tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Model:
    """Return the case ``name``, saved to a folder of its own."""
    case = CASES[name]
    folder = tmp_path_factory.mktemp("backbone") / "model"
    case.write(folder, tokenizer)
    settings = dict(case.settings)
    if "pictures" in settings:
        settings["pictures"] = str(draw_pictures(tmp_path_factory.mktemp("pictures"), *case.pictures[1:]))
    family = name.partition("/")[0]
    return Model(family, folder, case, settings, BACKBONES.get(family).load(folder, **settings))


def draw_pictures(folder: Path, height: int, width: int) -> Path:
    """Save a random picture for every prompt to ``folder``."""
    rng = np.random.default_rng(0)
    for prompt in PROMPTS:
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{prompt}.png")
    return folder


@pytest.fixture
def flops_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes longer than all else here."""
    monkeypatch.setattr(metering, "count_flops", lambda *_: (2, 3))


def start(backbone: Backbone, videos: int) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch_stream(0, "start"))


def method_on(stand: Stand, name: str) -> Method:
    return stand.method(name, batch_size=4, lora_rank=2, learning_rate=1e-3, **SETTINGS[name])


def frozen_weights(backbone: Backbone) -> dict[str, Tensor]:
    state = backbone.denoiser.state_dict()
    return {name: weight.clone() for name, weight in state.items() if "lora_" not in name}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_it_says_whether_its_models_are_flows(model: Model) -> None:
    assert BACKBONES.get(model.family).flow is isinstance(model.load().schedule, FlowSchedule)


def test_it_is_loaded_frozen_in_eval_mode_and_float32_and_draws_nothing(model: Model) -> None:
    before = torch.get_rng_state()
    backbone = BACKBONES.get(model.family).load(model.folder, **model.settings)
    assert torch.equal(before, torch.get_rng_state())
    assert any(module is backbone.denoiser for module in backbone.modules())
    for module in backbone.modules():
        assert not any(part.training for part in module.modules())
        for weight in (*module.parameters(), *module.buffers()):
            assert weight.device.type == "cpu"
            assert not weight.requires_grad
            assert not weight.is_floating_point() or weight.dtype == torch.float32


@torch.no_grad()
def test_shapes_are_what_the_interface_says(model: Model) -> None:
    backbone = model.load()
    frames, height, width = model.case.pictures
    encoded, latents = backbone.encode(PROMPTS[:2]), start(backbone, 2)
    assert encoded.ndim == 3
    assert len(encoded) == 2
    assert backbone.unconditional(encoded).shape == encoded.shape
    timesteps = backbone.schedule.timesteps(3)[1].expand(2)
    assert backbone.denoise(latents, timesteps, encoded).shape == latents.shape
    assert backbone.frames == frames
    video = backbone.decode(latents)
    assert video.shape == (2, frames, 3, height, width)
    torch.testing.assert_close(backbone.decode(latents, [frames - 1, 1]), video[:, [frames - 1, 1]])
    assert not torch.allclose(video[:, 0], video[:, -1], atol=1e-4)


@torch.no_grad()
def test_long_prompts_are_cut_where_that_is_wanted(model: Model) -> None:
    if model.family == "svd":
        pytest.skip("reads no texts")
    long = PROMPTS[0] + 400 * " x"
    backbone = model.load(long_prompts="cut")
    with pytest.warns(UserWarning, match=r"has \d+ tokens and is cut after \d+"):
        encoded = with_text(backbone, long)
    assert encoded.shape[1:] == backbone.text_shape
    assert torch.isfinite(encoded).all()
    with pytest.raises(UserError, match="set long_prompts: cut"):
        with_text(model.load(), long)


def with_text(backbone: Backbone, text: str) -> Tensor:
    """Return the condition of a text, with the first prompt's picture where the model is given one."""
    if isinstance(backbone, ImageBackbone):
        return backbone.with_texts(backbone.encode(PROMPTS[:1]), [text])
    return backbone.encode([text])


@torch.no_grad()
def test_a_batch_equals_its_videos_one_by_one(model: Model) -> None:
    backbone = model.load()
    latents, encoded = start(backbone, 3), backbone.encode(PROMPTS[:3])
    timesteps = backbone.schedule.timesteps(3)  # another one for every video
    together, pictures = backbone.denoise(latents, timesteps, encoded), backbone.decode(latents)
    unconditional = backbone.unconditional(encoded)
    for i in range(3):
        one = slice(i, i + 1)
        alone = backbone.denoise(latents[one], timesteps[one], encoded[one])
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(pictures[one], backbone.decode(latents[one]), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(encoded[one], backbone.encode([PROMPTS[i]]), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(unconditional[one], backbone.unconditional(encoded[one]))
    assert not torch.allclose(together, backbone.denoise(latents, timesteps.flip(0), encoded), atol=1e-4)
    assert not torch.allclose(together, backbone.denoise(latents, timesteps, encoded.flip(0)), atol=1e-5)


class Walk(NamedTuple):
    """Two rounds of a method, with what there was before, between and after them."""

    name: str
    before: dict[str, Tensor]
    frozen_before: dict[str, Tensor]
    metrics: dict[str, float]
    between: dict[str, Tensor]
    frozen_between: dict[str, Tensor]
    ledger: dict[str, int | float]
    """Between the rounds, as is what follows."""
    position: int
    state: bytes
    next_metrics: dict[str, float]
    after: dict[str, Tensor]


@pytest.fixture(scope="module", params=METHODS.names())
def walk(request: pytest.FixtureRequest, model: Model) -> Walk:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metering, "count_flops", lambda *_: (2, 3))
        stand, stored = model.stand(), io.BytesIO()
        method = method_on(stand, request.param)
        before, frozen_before = method.lora.state(), frozen_weights(stand.backbone)
        metrics = method.step(4)
        torch.save(method.state(), stored)
        return Walk(
            request.param,
            before,
            frozen_before,
            metrics,
            method.lora.state(),
            frozen_weights(stand.backbone),
            stand.meter.ledger.as_dict(),
            stand.prompts.position,
            stored.getvalue(),
            next_metrics=method.step(4),
            after=method.lora.state(),
        )


def test_a_step_of_each_method_moves_only_the_adapters(walk: Walk, model: Model) -> None:
    assert len(walk.before) == 2 * model.case.adapters
    assert all(math.isfinite(value) for value in walk.metrics.values()), walk.metrics
    assert walk.metrics["grad_norm"] > 0
    if METHODS.get(walk.name).policy_gradient:
        assert walk.metrics["unmoved_deviation"] < 1e-5, "a tenth of the clip range"
    assert walk.before.keys() == walk.between.keys()
    assert not same(walk.before, walk.between)
    assert all(torch.isfinite(value).all() for value in walk.between.values())
    assert same(walk.frozen_before, walk.frozen_between)
    spent = walk.ledger
    assert (spent["reward_queries"], spent["frames_scored"], spent["vae_decodes"]) == (4, 12, 12)
    assert (spent["denoiser_forwards"], spent["denoiser_backwards"]) == CALLS[walk.name]
    assert spent["flops"] > 0


@pytest.mark.usefixtures("flops_made_up")
def test_a_resumed_run_goes_on_bit_for_bit_on_every_backbone(walk: Walk, model: Model) -> None:
    resumed = model.stand()
    resumed.prompts.position = walk.position
    fresh = method_on(resumed, walk.name)
    fresh.load_state(torch.load(io.BytesIO(walk.state), weights_only=True))
    assert fresh.step(4) == walk.next_metrics
    assert same(fresh.lora.state(), walk.after)


def test_flops_are_counted_through_every_call(model: Model) -> None:
    """Where counting is hardest: two backward passes through activations that are computed again."""
    found = []
    for checkpointing in (False, True):
        stand = model.stand(checkpointing=checkpointing)
        method_on(stand, "vader").step(4)
        found.append(stand.meter.ledger.flops)
    assert found[1] > found[0] > 0


def test_a_skeleton_is_the_model_without_values(model: Model) -> None:
    loaded = model.load()
    bare = BACKBONES.get(model.family).skeleton(str(model.folder), **model.settings)
    assert [shapes(module) for module in bare.modules()] == [shapes(module) for module in loaded.modules()]
    assert all(weight.is_meta for module in bare.modules() for weight in module.state_dict().values())
    assert (bare.latent_shape, bare.frames) == (loaded.latent_shape, loaded.frames)
    assert torch.equal(bare.schedule.timesteps(3), loaded.schedule.timesteps(3))
    assert loaded.encode(PROMPTS[:1]).shape[1:] == bare.text_shape == loaded.text_shape
    with torch.no_grad(), torch.device("meta"):
        latents, encoded = torch.empty(1, *bare.latent_shape), torch.empty(1, *bare.text_shape)
        prediction = bare.denoise(latents, torch.zeros(1, dtype=torch.long), encoded)
        pictures = bare.decode(latents, [0])
    assert prediction.shape == latents.shape
    assert pictures.shape == (1, 1, 3, *bare.picture_size)
    assert bare.picture_size == loaded.picture_size == model.case.pictures[1:]


def test_switches_leave_all_that_a_model_has(model: Model) -> None:
    inner = model.load()
    wrapped = with_memory_switches(inner, MemoryConfig(slicing=True))
    assert wrapped is not inner
    for name in (*Backbone.__annotations__, "frames"):
        assert getattr(wrapped, name) == getattr(inner, name), name


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_weights_are_read_in_the_precision_that_they_are_kept_in(model: Model, name: str) -> None:
    read = BACKBONES.get(model.family).load(model.folder, DTYPES[name], **model.settings)
    early = [{key: value.dtype for key, value in module.state_dict().items()} for module in read.modules()]
    assert any(DTYPES[name] in dtypes.values() for dtypes in early)
    memory = MemoryConfig.model_validate({"frozen_weights": name})
    pairs = zip(
        with_memory_switches(read, memory).modules(),
        with_memory_switches(model.load(), memory).modules(),
        early,
        strict=True,
    )
    for ours, theirs, dtypes in pairs:
        wanted = theirs.state_dict()
        assert {key: value.dtype for key, value in wanted.items()} == dtypes, "no copy in float32 was made"
        assert all(torch.equal(value, wanted[key]) for key, value in ours.state_dict().items())


def shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


class Step(NamedTuple):
    """What a step of VADER on two videos, with trained adapters, comes to."""

    metrics: dict[str, float]
    gradients: Tensor
    ledger: dict[str, int | float]


def step_of(model: Model, **memory: Any) -> Step:
    stand = model.stand(**memory)
    method = stand.method("vader", batch_size=2, lora_rank=2, learning_rate=1e-3, k=2)
    method.lora.load(trained(method.lora.state()))
    metrics = method.step(2)
    weights = method.lora.parameters()  # an expert that had no part in the step has no gradient
    found = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    ledger = stand.meter.ledger.as_dict()
    ledger.pop("device_seconds")
    return Step(metrics, torch.cat([gradient.flatten() for gradient in found]), ledger)


def trained(adapter: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return random weights in the shapes of ``adapter``, of which half are zero at the start."""
    stream = torch_stream(0, "adapter")
    return {name: 0.1 * torch.randn(weight.shape, generator=stream) for name, weight in adapter.items()}


@pytest.fixture(scope="module")
def plain(model: Model) -> Step:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metering, "count_flops", lambda *_: (2, 3))
        return step_of(model)


EXACTNESS = {"checkpointing": 0.0, "offload_activations": 1e-5, "slicing": 1e-4}
"""Most difference of gradients. What is moved away comes back without gaps, and a slice is a smaller batch:
that changes the order of sums."""


@pytest.mark.usefixtures("flops_made_up")
@pytest.mark.parametrize("switch", EXACTNESS)
def test_a_switch_of_memory_changes_no_number_of_a_step(
    switch: str, model: Model, plain: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_offloadable", lambda _: True)  # from the CPU's memory to the CPU's
    found = step_of(model, **{switch: True})
    assert difference(found.gradients, plain.gradients) <= EXACTNESS[switch]
    assert found.metrics == pytest.approx(plain.metrics, rel=EXACTNESS[switch], abs=1e-6)
    assert found.ledger == plain.ledger


@pytest.mark.usefixtures("flops_made_up")
def test_all_switches_together(model: Model, plain: Step) -> None:
    found = step_of(
        model, frozen_weights="float16", checkpointing=True, slicing=True, offload_activations=True
    )
    assert torch.isfinite(found.gradients).all()
    assert found.metrics["reward"] == pytest.approx(plain.metrics["reward"], abs=2e-3)
    assert found.ledger == plain.ledger


ROUNDING = {"bfloat16": (0.05, 0.85), "float16": (0.007, 0.995)}
"""Most difference, and least cosine of gradients, from float32: numbers have 8 and 11 binary digits. The
gradient of Wan's tiny decoder loses most; of others 0.99 is left in bfloat16."""


def test_half_precision_is_float32_up_to_rounding(model: Model) -> None:
    exact = passes(model.load())
    for weights, (most, least) in ROUNDING.items():
        found = passes(
            with_memory_switches(model.load(), MemoryConfig.model_validate({"frozen_weights": weights}))
        )
        for name, value in found.items():
            assert value.dtype == torch.float32, name
            if name.startswith("gradient"):
                cosine = torch.cosine_similarity(value.flatten(), exact[name].flatten(), dim=0)
                assert cosine > least, (weights, name)
            else:
                assert difference(value, exact[name]) < most, (weights, name)
            assert not torch.equal(value, exact[name]), "nothing was rounded"


def passes(backbone: Backbone) -> dict[str, Tensor]:
    """Return what each network makes of the same input, with gradients of latents and adapters."""
    lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch_stream(0, "lora"))
    lora.load(trained(lora.state()))
    assert {weight.dtype for weight in lora.parameters()} == {torch.float32}
    noisy, clean = start(backbone, 2).requires_grad_(), start(backbone, 2).requires_grad_()
    encoded = backbone.encode(PROMPTS[:2])
    prediction = backbone.denoise(noisy, backbone.schedule.timesteps(3)[[0, 2]], encoded)
    pictures = backbone.decode(clean)
    prediction.square().mean().backward()
    (pictures * torch.randn(pictures.shape, generator=torch_stream(0, "pictures"))).mean().backward()
    gradients = {"noisy": noisy.grad, "clean": clean.grad}
    gradients["adapters"] = torch.cat([w.grad.flatten() for w in lora.parameters() if w.grad is not None])
    made = {"encoded": encoded, "prediction": prediction.detach(), "pictures": pictures.detach()}
    return made | {f"gradient of {name}": value for name, value in gradients.items() if value is not None}


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the length of the difference in units of the length of ``expected``."""
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
def test_an_adapter_from_a_file_gives_the_same_prediction_bit_for_bit(model: Model, tmp_path: Path) -> None:
    backbone, fresh = model.load(), model.load()
    lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch_stream(0, "lora"))
    lora.load(trained(lora.state()))
    lora.save(tmp_path / "lora.safetensors")
    latents, encoded = start(backbone, 2), backbone.encode(PROMPTS[:2])
    given = latents, backbone.schedule.timesteps(3)[[0, 2]], encoded
    base = fresh.denoise(*given)
    loaded = Lora.from_file(fresh.denoiser, tmp_path / "lora.safetensors")
    assert same(loaded.state(), lora.state())
    prediction = fresh.denoise(*given)
    assert torch.equal(prediction, backbone.denoise(*given))
    assert not torch.equal(prediction, base)
