"""The Muon optimizer (Jordan et al., 2024): momentum with orthogonalized updates, for hidden matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def orthogonalize(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrices of a batch [n, rows, columns], roughly, by a Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = g.mT if tall else g
    x = x.bfloat16() if x.is_cuda else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Matrices of one shape are updated together: a small model has many small ones, and each call costs the same."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = {}
            for p in group["params"]:
                shapes.setdefault((p.shape[0], p.shape[1]), []).append(p)
            for (rows, columns), params in shapes.items():
                grads = torch.stack([p.grad for p in params])
                state = self.state[params[0]]
                if "m" not in state:
                    state["m"] = torch.zeros_like(grads)
                m = state["m"].lerp_(grads, 1 - group["momentum"])
                updates = orthogonalize(grads.lerp_(m, group["momentum"]))
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(params, list(updates.unbind()), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
