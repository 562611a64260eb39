"""The model card that comes with the weights."""

from __future__ import annotations

import json

from vader_bench.pretrain.card import _card
from vader_bench.weights.resolve import PACKAGED


def test_the_card_is_what_was_measured() -> None:
    measured = json.loads((PACKAGED / "measured.json").read_text("utf-8"))
    assert (PACKAGED / "MODEL_CARD.md").read_text("utf-8") == _card(measured)


def test_the_pictures_that_the_card_shows_are_there() -> None:
    card = (PACKAGED / "MODEL_CARD.md").read_text("utf-8")
    shown = {line.partition("](")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")}
    assert shown == {path.name for path in PACKAGED.glob("*.png")}
