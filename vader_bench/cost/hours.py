"""The time of training and of looks on a card."""

from __future__ import annotations

from collections.abc import Sequence

from vader_bench.cost.estimate import UTILISATION
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.looks import flops_of_base, flops_of_looks
from vader_bench.cost.measured import Utilisation
from vader_bench.cost.whatif import Planned

__all__ = ["Hours"]

_SECONDS = 3600


class Hours:
    """Hours of arms on ``card``, at the shares of its peak rate that were measured, or at ``UTILISATION``."""

    def __init__(self, planned: Sequence[Planned], card: Gpu, measured: Utilisation) -> None:
        self._planned = planned
        self._card = card
        self._shares = measured

    def training(self, one: Planned) -> float:
        """Return the hours that one run trains."""
        share = self._training_share(one)
        return one.estimate.seconds(self._card, one.precision, share) / _SECONDS

    def looks(self, one: Planned) -> float:
        """Return the hours that measuring the adapters of one run takes."""
        return self._at_looks(one, flops_of_looks(one.run, one.networks.of(one.run)))

    def base(self) -> float:
        """Return the hours that all looks at the base model take, which runs on a reward share."""
        first = {one.run.reward: one for one in reversed(self._planned)}
        return sum(
            self._at_looks(one, flops_of_base(one.run, one.networks.of(one.run))) for one in first.values()
        )

    @property
    def measured(self) -> bool:
        """Return whether a share was measured."""
        return any(self._shares.training(one.run.suite.suite, one.precision) for one in self._planned)

    def said(self, one: Planned) -> str:
        """Return in words the shares of the card's rate that the hours of ``one`` are computed with."""
        rate = f"of the card's {self._card.rate(one.precision) / 1e12:g}"
        training, looks = self._training_share(one), self._look_share(one)
        if self._shares.training(one.run.suite.suite, one.precision) is None:
            return f"an assumed {training:.0%} {rate}"
        return f"a measured {training:.0%} in updates and {looks:.0%} at looks {rate}"

    def _training_share(self, one: Planned) -> float:
        return self._shares.training(one.run.suite.suite, one.precision) or UTILISATION

    def _look_share(self, one: Planned) -> float:
        return self._shares.looks(one.run.suite.suite, one.precision) or UTILISATION

    def _at_looks(self, one: Planned, flops: int) -> float:
        """Return the hours of so many FLOPs at the rate of looks."""
        return flops / (self._card.rate(one.precision) * self._look_share(one)) / _SECONDS
