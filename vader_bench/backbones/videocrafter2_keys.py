"""The released checkpoint of VideoCrafter2, name by name: one file with all networks, each under its prefix.

Names are looked up from our side, so that every weight of ours says where it comes from and each fault is
reported by the name in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.networks import lowered
from vader_bench.weights.tensors import read_tensors, weight_faults

__all__ = [
    "CHECKPOINTS", "DENOISER", "FIRST_STAGE", "TEXT", "Origin", "denoiser_origin", "find_checkpoint",
    "first_stage_origin", "load_into", "read_checkpoint", "text_origin",
]  # fmt: skip

CHECKPOINTS = ("model.safetensors", "model.ckpt")
"""Names a checkpoint may have in its folder; the first one there is read."""

DENOISER = "model.diffusion_model."
FIRST_STAGE = "first_stage_model."
TEXT = "cond_stage_model.model."

_DEEPSPEED = "_forward_module."
"""What DeepSpeed puts before every name."""

_UNUSED = re.compile(
    r"betas|alphas_cumprod(_prev)?|sqrt_(one_minus_)?alphas_cumprod|log_one_minus_alphas_cumprod"
    r"|sqrt_recip(m1)?_alphas_cumprod|posterior_(variance|log_variance_clipped|mean_coef[12])|scale_arr"
    r"|cond_stage_model\.model\.(text_projection|logit_scale|attn_mask)"
)
"""What the file may hold beside the three networks: tables of the schedule, which follow from a few numbers,
and what CLIP needs to compare texts with pictures. ``attn_mask`` is the causal mask of old open_clip."""


@dataclass(frozen=True)
class Origin:
    """Where one weight of ours lies in the file."""

    key: str
    """Name in the file."""
    third: int | None = None
    """Which of three stacked matrices it is; ``None`` if it is alone."""
    trailing: int = 0
    """Dimensions of size 1 at its end in the file, where a convolution of size 1 stands for a matrix."""

    def shape(self, ours: torch.Size) -> torch.Size:
        """Return the shape in the file of a weight that has shape ``ours`` here."""
        rows = ours[0] if self.third is None else 3 * ours[0]
        return torch.Size([rows, *ours[1:], *[1] * self.trailing])

    def take(self, stored: Tensor, ours: torch.Size) -> Tensor:
        """Return the weight of shape ``ours`` from what the file holds."""
        part = stored if self.third is None else stored.chunk(3)[self.third]
        return part.reshape(ours)


def denoiser_origin(name: str) -> Origin:
    """Return where the weight ``name`` of ``VideoCrafter2UNet`` lies."""
    key = name.replace(".temporal_conv.", ".temopral_conv.")
    key = re.sub(r"^(input_blocks\.\d+\.0)\.conv\.", r"\1.op.", key)
    convolved = re.fullmatch(r"init_attn\.0\.proj_(in|out)\.weight", name) is not None
    return Origin(DENOISER + key, trailing=int(convolved))


_FIRST_STAGE_RULES = (
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
    (r"conv_norm_out\.", "norm_out."),
)


def first_stage_origin(name: str, levels: int) -> Origin:
    """Return where the weight ``name`` of diffusers' ``AutoencoderKL`` with ``levels`` resolutions lies.

    The file counts the decoder's blocks from the highest resolution, diffusers from the lowest.
    """
    key = re.sub(r"(?<=up_blocks\.)\d+", lambda found: str(levels - 1 - int(found[0])), name)
    for pattern, replacement in _FIRST_STAGE_RULES:
        key = re.sub(pattern, replacement, key)
    convolved = re.search(r"attentions\.0\.to_\w+(\.0)?\.weight$", name) is not None
    return Origin(FIRST_STAGE + key, trailing=2 * convolved)


_TEXT_NAMES = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_TEXT_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def text_origin(name: str) -> Origin:
    """Return where the weight ``name`` of transformers' ``CLIPTextModel`` lies in open_clip's layout."""
    name = name.removeprefix("text_model.")
    if name in _TEXT_NAMES:
        return Origin(TEXT + _TEXT_NAMES[name])
    _, _, layer, rest = name.split(".", 3)
    block = f"{TEXT}transformer.resblocks.{layer}."
    part, _, kind = rest.rpartition(".")
    if part in _TEXT_PARTS:
        return Origin(f"{block}{_TEXT_PARTS[part]}.{kind}")
    third = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj").index(part)
    return Origin(f"{block}attn.in_proj_{kind}", third)


def find_checkpoint(folder: Path) -> Path:
    """Return the checkpoint in ``folder``.

    Raises:
        UserError: there is none.
    """
    for name in CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        str(folder),
        f"has neither {' nor '.join(CHECKPOINTS)}",
        "put model.ckpt of the release VideoCrafter/VideoCrafter2 there",
        exit_code=ExitCode.MISSING,
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return all tensors of ``path`` by the names of the release; see ``read_tensors``.

    DeepSpeed puts ``_forward_module.`` before each name, which is taken away.
    """
    remedy = "give the released model.ckpt, or the same tensors by the same names as model.safetensors"
    stored = read_tensors(path, remedy)
    return {name.removeprefix(_DEEPSPEED): value for name, value in stored.items()}


def load_into(
    networks: Iterable[tuple[nn.Module, Callable[[str], Origin]]],
    stored: Mapping[str, Tensor],
    source: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Give every weight of ``networks``, which may be on the meta device, its value.

    Args:
        networks: each with the function that says where a weight of it lies.
        stored: all tensors of the checkpoint by name.
        source: the checkpoint, for messages.
        dtype: of the weights that are ``lowered``; the others are in float32.

    Raises:
        UserError: names or shapes differ, all of them told; nothing is changed.
    """
    pairs = [(network, {name: origin(name) for name in network.state_dict()}) for network, origin in networks]
    _check(pairs, stored, source)
    for network, origins in pairs:
        wanted = network.state_dict(keep_vars=True)
        low = {id(weight) for weight in lowered(network, dtype)}
        state = {}
        for name, weight in wanted.items():
            value = origins[name].take(stored[origins[name].key], weight.shape)
            state[name] = value.to(dtype if id(weight) in low else torch.float32)
        network.load_state_dict(state, assign=True)


def _check(
    pairs: list[tuple[nn.Module, dict[str, Origin]]], stored: Mapping[str, Tensor], source: str
) -> None:
    wanted: dict[str, torch.Size] = {}
    for network, origins in pairs:
        for name, weight in network.state_dict().items():
            wanted[origins[name].key] = origins[name].shape(weight.shape)
    wrong = weight_faults(wanted, stored, _UNUSED.fullmatch)
    if wrong:
        remedy = "give a whole checkpoint of VideoCrafter2, and its sizes in config.yaml if they are its own"
        raise UserError(source, "; ".join(wrong), remedy)
