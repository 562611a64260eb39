"""How much memory the tensors of a piece of work take at most, on any device; what is said if it ran out."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vader_bench.errors import ExitCode, UserError

__all__ = ["LiveBytes", "tensors_in", "told_as_memory"]

_NO_MEMORY = "can't allocate memory"
"""What PyTorch's allocator on the CPU says, in an error of no kind of its own."""


@contextmanager
def told_as_memory(given: str) -> Iterator[None]:
    """Turn a lack of memory inside, of a card or of this process, into a line about the run ``given``.

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _ran_out(given, error) from error
    except RuntimeError as error:
        if _NO_MEMORY not in str(error):
            raise
        raise _ran_out(given, error) from error


def _ran_out(given: str, error: Exception) -> UserError:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    remedy = (
        "where other programs or workers take it, wait or give fewer `--workers`, and the same command goes "
        "on; else `vader-bench plan` with the experiment names what takes less"
    )
    return UserError(given, f"ran out of memory ({first})", remedy, exit_code=ExitCode.RUN_FAILED)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside that are alive, real or fake, and the most at any time.

    Memory that a kernel takes and gives back inside itself does not show.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and count what it has made."""
        del types
        before = {id(leaf.untyped_storage()) for leaf in tensors_in((args, kwargs or {}))}
        result = self.run(func, args, kwargs or {})
        for leaf in tensors_in(result):
            storage = leaf.untyped_storage()
            if id(storage) not in before and id(storage) not in self._seen:
                self._add(storage)
        self.peak = max(self.peak, self.live)
        return result

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Return what ``func`` returns."""
        return func(*args, **kwargs)

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self._seen.add(key)
        self.live += size

        def forget() -> None:
            self._seen.discard(key)
            self.live -= size

        weakref.finalize(storage, forget)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors in what operators take and return; PyTorch's own way takes several times as long."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from tensors_in(part)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))
