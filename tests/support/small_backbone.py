"""A model of one layer, as a user's own file has it, whose runs take a fraction of a second.

It has weights in a file, reads prompts, and learns; all around it is what any run goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.configs import tiny_run
from vader_bench.backbones import Backbone, BackboneFactory
from vader_bench.config.schema import RunConfig
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.weights.tensors import read_tensors

__all__ = ["METHOD_SETTINGS", "SmallFactory", "small_run", "write_small"]

CHANNELS, FRAMES, SIDE = 4, 4, 4
_FILE = "model.safetensors"
_GROUPS = {"prompts_per_round": 2, "samples_per_prompt": 2}
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    "ddpo": _GROUPS,
    "diffusion-dpo": {},
    "grpo": _GROUPS | {"kl_weight": 0.1},
    "nft": _GROUPS,
    "raft": _GROUPS,
    "refl": {},
    "vader": {},
}
"""By method: all of them, with rounds of four videos where they have rounds."""


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, channels: Tensor) -> Tensor:
        """Return a prediction of the shape of ``channels`` [..., C]."""
        prediction: Tensor = self.to_q(channels)
        return prediction


class _Small(Backbone):
    name = "small"
    lora_targets = ("to_q",)
    latent_shape = (CHANNELS, FRAMES, SIDE, SIDE)
    text_shape = (1, CHANNELS)
    picture_size = (2 * SIDE, 2 * SIDE)
    decodes_frame_by_frame = True

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.schedule = NoiseSchedule(torch.linspace(0.6, 0.02, 30), "v_prediction", "trailing")
        self.denoiser = _Layer()
        self.denoiser.load_state_dict(weights)
        self.denoiser.requires_grad_(False).eval()

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return four numbers of each text [B, 1, C]."""
        numbers = [[len(text), text.count("a"), text.count("e"), sum(text.encode()) % 17] for text in prompts]
        return torch.tensor(numbers, dtype=torch.float32)[:, None] / 10

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the prediction [B, C, F, h, w]."""
        del timesteps
        prediction: Tensor = self.denoiser(latents.movedim(1, -1) + encoded[:, :, None, None] + 2)
        return prediction.movedim(-1, 1)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], two pixels wide for one of the latent."""
        chosen = latents if frames is None else latents[:, :, list(frames)]
        pictures = chosen[:, :3].movedim(1, 2).sigmoid()
        return pictures.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def enable_checkpointing(self) -> None:
        """There is nothing to compute again."""

    def modules(self) -> list[nn.Module]:
        """Return the denoiser."""
        return [self.denoiser]


class SmallFactory(BackboneFactory):
    """Reads what ``write_small`` wrote."""

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the model; it has no settings."""
        assert not settings
        weights = read_tensors(folder / _FILE, "write it again")
        return _Small({name: weight.to(dtype) for name, weight in weights.items()})


def write_small(folder: Path) -> Path:
    """Write the weights of a small model to ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    shapes = {"to_q.weight": (CHANNELS, CHANNELS), "to_q.bias": (CHANNELS,)}
    weights = {name: torch.randn(shape, generator=generator) / 2 for name, shape in shapes.items()}
    save_file(weights, folder / _FILE)
    return folder


def small_run(weights: Path, method: str = "vader", **changes: Any) -> RunConfig:
    """Return a run of ``method`` on the small model in the folder ``weights``; see ``tiny_run``."""
    suite = tiny_run(weights).suite.model_dump()
    suite["backbone"] = {"family": f"{__file__}:SmallFactory", "settings": {"weights": str(weights)}}
    settings = METHOD_SETTINGS.get(method, {}) | changes.pop("settings", {})
    return tiny_run(weights, method=method, settings=settings, **({"suite": suite} | changes))
