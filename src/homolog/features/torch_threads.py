"""How many threads torch computes with while a network looks at something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from homolog.kernels.threads import thread_count


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[None]:
    """Within the block torch uses so many threads, as many as kernels do where None; afterwards as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(thread_count() if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
