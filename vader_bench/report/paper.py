"""The paper's own numbers, to be read beside ours and never mixed with them (arXiv:2407.08737v1)."""

from __future__ import annotations

from vader_bench.report.tables import Table

__all__ = ["PAPER", "paper_table"]

PAPER: dict[str, Table] = {
    "table1": Table(
        "The paper's Table 1 (mean reward; no seeds, sample counts or intervals are given)",
        ["", "aesthetic train", "test", "HPSv2 train", "test", "action train", "I2V aesthetic train", "test"],
        [
            ["Base", "4.61", "4.49", "0.25", "0.24", "0.14", "4.91", "4.96"],
            ["DDPO", "4.63", "4.52", "0.24", "0.23", "0.21", "N/A", "N/A"],
            ["Diffusion-DPO", "4.71", "4.41", "0.25", "0.24", "0.23", "N/A", "N/A"],
            ["VADER", "7.31", "7.12", "0.33", "0.32", "0.79", "7.83", "7.64"],
        ],
    ),
    "table2": Table(
        "The paper's Table 2 (VADER against ModelScope; share of answers; no intervals are given)",
        ["", "VADER", "ModelScope", "answers"],
        [
            ["fidelity", "79.0 %", "21.0 %", "100"],
            ["text alignment", "61.0 %", "39.0 %", "100"],
        ],
    ),
    "truncation": Table(
        "The paper's truncation ablation (project page; VideoCrafter2, aesthetic and HPS, one run)",
        ["", "step 1", "100", "200", "300"],
        [
            ["K = 1", "5.047", "5.3342", "5.4977", "5.6479"],
            ["K = 10", "5.0946", "5.2523", "5.2072", "5.1906"],
        ],
    ),
    "memory": Table(
        "The paper's memory ablation (project page; ModelScope, each row adds to the one above)",
        ["", "VRAM", "system RAM", "total"],
        [
            ["LoRA and mixed precision", "12.1 GB", "264.2 GB", "276.3 GB"],
            ["frame sub-sampling", "12.1 GB", "216.8 GB", "228.9 GB"],
            ["truncated back-propagation", "12.1 GB", "57.3 GB", "69.4 GB"],
            ["gradient checkpointing", "12.1 GB", "20.4 GB", "32.5 GB"],
        ],
    ),
    "diversity": Table(
        "The paper's diversity (project page; VideoCrafter2, variance of VideoMAE embeddings)",
        ["", "variance"],
        [
            ["base", "0.0037"],
            ["PickScore", "0.0026"],
            ["aesthetic and HPS", "0.0023"],
            ["aesthetic and ViCLIP", "0.0031"],
        ],
    ),
}
"""By the name that an experiment's key ``paper`` gives; ``table2`` stands in the analysis of studies."""


def paper_table(name: str | None) -> Table | None:
    """Return the paper's table called ``name``."""
    return None if name is None else PAPER[name]
