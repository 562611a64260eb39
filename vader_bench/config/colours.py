"""The colours of methods, the same in figures, reports and MLflow."""

from __future__ import annotations

__all__ = ["BASE_COLOUR", "METHOD_COLOURS"]

METHOD_COLOURS = {
    "vader": "#0072B2", "ddpo": "#D55E00", "diffusion-dpo": "#009E73",
    "refl": "#CC79A7", "grpo": "#E69F00", "nft": "#56B4E9", "raft": "#000000",
}  # fmt: skip
"""Of Okabe and Ito (2008), distinguished with any common colour blindness."""
BASE_COLOUR = "#6b6b6b"
