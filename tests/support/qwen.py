"""Tiny random reward models on Qwen2-VL, in the forms in which the real ones were released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import Qwen2TokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vader_bench.rewards.qwen2vl import instruction

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
MARKS = {"videoalign": ("<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"), "hpsv3": ("<|Reward|>",)}
NORM = {"VQ_mean": 0.5, "VQ_std": 2.0, "MQ_mean": -1.0, "MQ_std": 0.5, "TA_mean": 0.25, "TA_std": 4.0}
RANK, ALPHA = 2, 6.0


def write_base(folder: Path) -> Path:
    """Write a Qwen2-VL folder: 2 layers of 16 numbers, patches of 14 pixels, a tokenizer of its kind."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator([instruction(name) for name in MARKS], trainer)
    tokenizer = Qwen2TokenizerFast(tokenizer_object=words, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.save_pretrained(folder)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 9,  # as the real one has more rows than tokens
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
            "initializer_range": 0.3,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 16,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "initializer_range": 0.1,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def resized(base: Path, name: str) -> tuple[Qwen2VLForConditionalGeneration, Qwen2TokenizerFast]:
    """Return the network of ``base`` with the marks of ``name`` in its table, as its authors make it."""
    tokenizer = Qwen2TokenizerFast.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS[name])})
    network = Qwen2VLForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return network.eval(), tokenizer


def old_names(network: nn.Module) -> dict[str, Tensor]:
    """The weights by the names that transformers 4.45 gave them."""
    names = {"model.visual.": "visual.", "model.language_model.": "model."}
    found = {}
    for name, weight in network.state_dict().items():
        start = next((old for old in names if name.startswith(old)), "")
        found[names.get(start, "") + name.removeprefix(start)] = weight.clone()
    return found


def hpsv3_head() -> nn.Module:
    """HPSv3's head with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Linear(16, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU(), nn.Linear(16, 2)
        ).eval()


def write_hpsv3(base: Path, path: Path, *, old: bool = True) -> Path:
    """Write ``HPSv3.safetensors``: the whole network and its head."""
    network, _ = resized(base, "hpsv3")
    stored = old_names(network) if old else {name: w.clone() for name, w in network.state_dict().items()}
    head = {f"rm_head.{name}": weight.clone() for name, weight in hpsv3_head().state_dict().items()}
    save_file(stored | head, path)
    return path


def videoalign_head(outputs: int) -> nn.Module:
    """VideoAlign's head with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Linear(16, outputs, bias=False)


def adapters(network: Qwen2VLForConditionalGeneration) -> dict[str, tuple[Tensor, Tensor]]:
    """Random pairs (A, B) for every linear layer of the language model, by today's name of the layer."""
    generator = torch.Generator().manual_seed(4)

    def drawn(*shape: int) -> Tensor:
        return 0.2 * torch.randn(*shape, generator=generator)

    return {
        name: (drawn(RANK, layer.in_features), drawn(layer.out_features, RANK))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and "language_model" in name
    }


def write_videoalign(
    base: Path, folder: Path, *, outputs: int = 1, whole: bool = True, **config: Any
) -> Path:
    """Write a folder as KwaiVGI/VideoReward has it.

    Args:
        base: the Qwen2-VL.
        folder: to write.
        outputs: of the head.
        whole: ``model.pth`` of all weights, or adapters and what was trained beside them.
        config: tables of ``model_config.json`` in place of its own.
    """
    network, _ = resized(base, "videoalign")
    layers = {
        name.replace("model.language_model.", "model."): pair for name, pair in adapters(network).items()
    }
    stored = {}
    for name, weight in old_names(network).items():
        layer, _, kind = name.rpartition(".")
        stored[
            f"base_model.model.{layer}.base_layer.{kind}" if layer in layers else f"base_model.model.{name}"
        ] = weight
    stored["base_model.model.rm_head.weight"] = videoalign_head(outputs).state_dict()["weight"].clone()
    middle = ".default" if whole else ""
    pairs = {
        f"base_model.model.{layer}.lora_{which}{middle}.weight": matrix
        for layer, pair in layers.items()
        for which, matrix in zip("AB", pair, strict=True)
    }
    checkpoint = folder / "checkpoint-20"
    checkpoint.mkdir(parents=True)
    (folder / "checkpoint-9").mkdir()  # an earlier one, of which nothing is read
    if whole:
        torch.save(stored | pairs, checkpoint / "model.pth")
    else:
        save_file(pairs, checkpoint / "adapter_model.safetensors")
        beside = {
            name: w for name, w in stored.items() if "visual" in name or "rm_head" in name or "embed" in name
        }
        torch.save(beside, checkpoint / "non_lora_state_dict.pth")
    table = {
        "data_config": {"max_frame_pixels": 200704, "fps": 2, "prompt_template_type": "detailed_special"},
        "training_args": {"seed": 42},
        "model_config": {"output_dim": outputs, "use_special_tokens": True, "reward_token": "special"},
        "peft_lora_config": {"lora_enable": True, "lora_r": RANK, "lora_alpha": ALPHA},
        "inference_config": NORM,
    }
    (folder / "model_config.json").write_text(json.dumps(table | config), "utf-8")
    return folder
