"""Tells stories with the model, many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model import Tales


@dataclass
class Told:
    ids: list[int]  # after the prompt, without the end
    ended: bool


def choose(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    p, order = torch.softmax(logits / temperature, -1).sort(descending=True)
    p = p.masked_fill((p.cumsum(-1) - p) > top_p, 0)
    return order.gather(-1, torch.multinomial(p, 1, generator=generator))[:, 0]


@torch.no_grad()
def generate(model: Tales, prompts: list[list[int]], end: int, temperature: float, top_p: float, seed: int) -> list[Told]:
    """All rows go from position to position together; a row takes the ids of its prompt while it has some, and then its own."""
    device = model.token_embd.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    context = model.config.context
    ids = torch.full((len(prompts), context), end)
    for row, prompt in zip(ids, prompts):
        row[: len(prompt)] = torch.tensor(prompt)
    lengths = torch.tensor([len(p) for p in prompts]).to(device)
    ids = ids.to(device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    past = model.memory(len(prompts))
    for at in range(context - 1):
        chosen = choose(model.step(ids[:, at], at, past), temperature, top_p, generator)
        given = lengths > at + 1
        ids[:, at + 1] = torch.where(given, ids[:, at + 1], chosen.masked_fill(ended, end))
        ended |= ~given & (ids[:, at + 1] == end)
        if at % 16 == 0 and bool(ended.all()):
            break
    told = []
    for row, prompt in zip(ids.tolist(), prompts):
        row = row[len(prompt) :]
        told.append(Told(row[: row.index(end)], True) if end in row else Told(row, False))
    return told
