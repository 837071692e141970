"""A network computes with as many threads as kernels do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from homolog.kernels.threads import thread_count


@contextmanager
def torch_threads() -> Iterator[None]:
    """Within the block torch uses `kernels.threads.thread_count()` threads; afterwards as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(thread_count())
    try:
        yield
    finally:
        torch.set_num_threads(before)
