"""Feeds the training: worker processes tell stories, encode them and pack them into blocks of a few fixed shapes."""

from __future__ import annotations

import multiprocessing
import os
import queue
import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from drills import drill
from text import documents

# A row is one document from its beginning, filled up to one of these lengths: few shapes, and hardly anything is padding.
WIDTHS = (288, 320, 512)
PAD = 65535
Block = np.ndarray  # [rows, width + 1] of uint16


def rows_of(width: int, tokens: int) -> int:
    return max(1, tokens // width)


def lesson(seed: int, drills: Callable[[], float]) -> Iterator[str]:
    """Endless documents, with a share of exercises that `drills` gives at the time."""
    source = documents(seed)
    rng = random.Random(f"lesson {seed}")
    while True:
        yield drill(rng) if rng.random() < drills() else next(source)


def drill_share(progress: float) -> float:
    """Nothing but exercises at the very first, until names are repeated; they are gone after three tenths of the training."""
    return 1.0 if progress < 0.03 else 0.5 * max(0.0, 1 - progress / 0.3)


def pack(rows: list[list[int]], width: int) -> Block:
    block = np.full((len(rows), width + 1), PAD, np.uint16)
    for row, ids in zip(block, rows):
        row[: len(ids)] = ids
    return block


def blocks(tokenizer: Tokenizer, source: Iterator[str], tokens: int) -> Iterator[Block]:
    """Blocks of about `tokens` ids; ends with the source, with what is left in smaller blocks."""
    waiting: dict[int, list[list[int]]] = {width: [] for width in WIDTHS}
    for text in source:
        ids = tokenizer.encode(text).ids[: WIDTHS[-1] + 1]
        width = next(w for w in WIDTHS if len(ids) <= w + 1)
        waiting[width].append(ids)
        if len(waiting[width]) == rows_of(width, tokens):
            yield pack(waiting[width], width)
            waiting[width] = []
    for width, rows in waiting.items():
        if rows:
            yield pack(rows, width)


def work(tokenizer: str, seed: int, tokens: int, progress: object, out: object) -> None:
    """A worker process; it ends with its parent."""
    os.nice(10)
    source = lesson(seed, lambda: drill_share(progress.value))  # type: ignore[attr-defined]
    for block in blocks(Tokenizer.from_file(tokenizer), source, tokens):
        out.put(block)  # type: ignore[attr-defined]


class Feed:
    """Endless blocks from workers. When they are too slow, rows of the latest blocks come again, shuffled."""

    def __init__(self, tokenizer: Path, seeds: list[int], tokens: int, progress: float) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would not survive CUDA
        self.progress = context.Value("d", progress, lock=False)
        self.queue = context.Queue(maxsize=4 * len(seeds))
        self.tokens = tokens
        self.recent: deque[Block] = deque(maxlen=1000)
        self.random = random.Random(0)
        self.fresh = self.again = 0
        self.workers = [
            context.Process(target=work, args=(str(tokenizer), seed, tokens, self.progress, self.queue), daemon=True) for seed in seeds
        ]
        for worker in self.workers:
            worker.start()

    def next(self) -> Block:
        try:
            block = self.queue.get(timeout=300 if len(self.recent) < 100 else 0.001)
        except queue.Empty:
            if len(self.recent) < 100:
                raise RuntimeError("the workers tell no stories") from None
            self.again += 1
            return self.mixed()
        self.fresh += 1
        self.recent.append(block)
        return block

    def mixed(self) -> Block:
        width = self.random.choice(self.recent).shape[1]
        alike = [b for b in self.random.sample(self.recent, 50) if b.shape[1] == width] or [b for b in self.recent if b.shape[1] == width]
        rows = [row for b in alike[:4] for row in b]
        return np.stack(self.random.sample(rows, rows_of(width - 1, self.tokens)))

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()
