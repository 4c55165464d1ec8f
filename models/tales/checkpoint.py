"""What a training leaves behind: weights in f32, in files that stay below 16 MB each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config, Tales

PART = 15_000_000  # bytes


@dataclass
class Checkpoint:
    config: Config
    weights: dict[str, Tensor]
    loss: float  # on the validation documents
    tokens: int
    steps: int

    def model(self) -> Tales:
        model = Tales(self.config)
        model.load_state_dict(self.weights)
        return model.eval()

    def save(self, folder: Path) -> None:
        parts: list[dict[str, Tensor]] = [{}]
        size = 0
        for name, tensor in self.weights.items():
            tensor = tensor.detach().float().cpu().clone()
            size += tensor.nbytes
            if size > PART:
                parts.append({})
                size = tensor.nbytes
            parts[-1][name] = tensor
        about = {"config": asdict(self.config), "loss": self.loss, "tokens": self.tokens, "steps": self.steps, "parts": len(parts)}
        folder.mkdir(parents=True, exist_ok=True)
        for number, weights in enumerate(parts):
            temporary = folder / "checkpoint.tmp"
            torch.save({**about, "weights": weights}, temporary)
            temporary.replace(folder / f"checkpoint-{number}.pt")


def load(folder: Path) -> Checkpoint:
    first = torch.load(folder / "checkpoint-0.pt", weights_only=True, map_location="cpu")
    weights = first["weights"]
    for number in range(1, first["parts"]):
        part = torch.load(folder / f"checkpoint-{number}.pt", weights_only=True, map_location="cpu")
        if part["steps"] != first["steps"]:
            raise ValueError(f"{folder}: parts of different checkpoints")
        weights |= part["weights"]
    return Checkpoint(Config(**first["config"]), weights, first["loss"], first["tokens"], first["steps"])
