"""The network of the bundled model: the Llama architecture as GGUF's `llama` defines it, in plain PyTorch.

RMSNorm, rotary positions on INTERLEAVED pairs (GGUF's layout: element 2i turns with 2i+1), grouped-query attention, SwiGLU,
tied embeddings. Parameters carry GGUF's tensor names, so export and import are a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


Past = tuple[Tensor, Tensor]  # keys and values of a layer, [batch, kv_heads, context, head_dim]


@dataclass(frozen=True)
class Config:
    """Sizes; widths are multiples of 256 so that every block format of GGUF fits them."""

    vocab: int = 2048
    dim: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 4
    ffn: int = 768
    context: int = 512
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


def rotation(config: Config) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [context, head_dim / 2]."""
    frequency = config.rope_base ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    angle = torch.outer(torch.arange(config.context, dtype=torch.float64), frequency)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x: [batch, heads, time, head_dim]; neighbours (2i, 2i+1) turn together."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        kv = config.kv_heads * config.head_dim
        self.attn_norm = nn.RMSNorm(config.dim, eps=config.epsilon)
        self.attn_q = nn.Linear(config.dim, config.dim, bias=False)
        self.attn_k = nn.Linear(config.dim, kv, bias=False)
        self.attn_v = nn.Linear(config.dim, kv, bias=False)
        self.attn_output = nn.Linear(config.dim, config.dim, bias=False)
        self.ffn_norm = nn.RMSNorm(config.dim, eps=config.epsilon)
        self.ffn_gate = nn.Linear(config.dim, config.ffn, bias=False)
        self.ffn_up = nn.Linear(config.dim, config.ffn, bias=False)
        self.ffn_down = nn.Linear(config.ffn, config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Past | None = None, at: int = 0) -> Tensor:
        """With `past`, x is the one position `at`, and looks back at what `past` holds."""
        batch, time, _ = x.shape

        def split(t: Tensor, heads: int) -> Tensor:
            return t.view(batch, time, heads, self.config.head_dim).transpose(1, 2)

        h = self.attn_norm(x)
        q = rotate(split(self.attn_q(h), self.config.heads), cos, sin)
        k = rotate(split(self.attn_k(h), self.config.kv_heads), cos, sin)
        v = split(self.attn_v(h), self.config.kv_heads)
        if past is not None:
            past[0][:, :, at : at + 1], past[1][:, :, at : at + 1] = k, v
            k, v = past[0][:, :, : at + 1], past[1][:, :, : at + 1]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=past is None, enable_gqa=True)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, time, -1))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Tales(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocab, config.dim)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = nn.RMSNorm(config.dim, eps=config.epsilon)
        cos, sin = rotation(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialize()

    @torch.no_grad()
    def initialize(self) -> None:
        """So that looking back pays from the first step: else the model long prefers guessing names to repeating them.

        Embeddings are large against what the layers add, so a token can be recognized in every layer; and each head begins by handing
        on what it looks at (`attn_output` is the transpose of `attn_v`; after Trockman and Kolter's mimetic initialization).
        """
        nn.init.normal_(self.token_embd.weight, std=0.3)
        self.output_norm.weight.fill_(1 / 16)
        group = self.config.heads // self.config.kv_heads
        for block in self.blk:
            for matrix in (block.attn_q, block.attn_k, block.ffn_gate, block.ffn_up):
                nn.init.normal_(matrix.weight, std=0.02)
            nn.init.normal_(block.ffn_down.weight, std=0.001)
            nn.init.orthogonal_(block.attn_v.weight)
            values = block.attn_v.weight.view(self.config.kv_heads, self.config.head_dim, self.config.dim)
            block.attn_output.weight.copy_(0.5 * values.repeat_interleave(group, 0).flatten(0, 1).T)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: [batch, time] -> logits: [batch, time, vocab]."""
        return self.logits(self.hidden(ids))

    def hidden(self, ids: Tensor) -> Tensor:
        x = self.token_embd(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blk:
            x = block(x, cos, sin)
        return x

    def logits(self, x: Tensor) -> Tensor:
        return F.linear(self.output_norm(x), self.token_embd.weight)

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(x).flatten(0, 1).float(), targets.flatten())

    def step(self, ids: Tensor, at: int, past: list[Past]) -> Tensor:
        """ids: [batch], all at position `at` -> logits: [batch, vocab]; `past` comes from `memory` and is filled here."""
        x = self.token_embd(ids)[:, None]
        cos, sin = self.cos[at : at + 1], self.sin[at : at + 1]
        for block, before in zip(self.blk, past):
            x = block(x, cos, sin, before, at)
        return self.logits(x)[:, 0]

    def memory(self, batch: int) -> list[Past]:
        config, weight = self.config, self.token_embd.weight
        shape = (batch, config.kv_heads, config.context, config.head_dim)
        return [(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in self.blk]
