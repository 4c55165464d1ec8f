"""Makes test/unit/fixtures/quantized/: tiny models as Hugging Face folders with FP8, AWQ and GPTQ weights, the logits of each, and what all
FP8 bytes mean. Run: python make-quantized.py (needs torch, transformers, safetensors).

The weights are packed here by the definitions of the formats: torch's float8 types with scales that are multiplied with; AutoGPTQ's
qweight [K * bits / 32, N], qzeros with one less; AutoAWQ's columns in the order 0 2 4 6 1 3 5 7. The logits are those of transformers'
own model with (q - z) * s and value * scale put in place of its weights, in f32.
"""

import base64
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

FOLDER = Path(__file__).parent.parent / "fixtures" / "quantized"
SHAPE = dict(
    vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
TOKENS = 12
GENERATOR = torch.Generator().manual_seed(7)


def integers(shape, high):
    return torch.randint(0, high, shape, generator=GENERATOR, dtype=torch.int64)


def words(values, bits):
    """Integers [..., 32 / bits] to one i32 each, the first in the lowest bits."""
    shifts = torch.arange(values.shape[-1]) * bits
    joined = (values << shifts).sum(-1)
    return torch.where(joined >= 2**31, joined - 2**32, joined).to(torch.int32)


def scales(groups, n):
    return (0.01 + 0.02 * torch.rand((groups, n), generator=GENERATOR)).half()


def gptq(n, k, bits, group, sym):
    per = 32 // bits
    q, s = integers((k, n), 2**bits), scales(k // group, n) * 2.0 ** (4 - bits)
    z = torch.full((k // group, n), 2 ** (bits - 1)) if sym else integers((k // group, n), 2**bits) + 1
    index = torch.arange(k) // group
    parts = {
        "qweight": words(q.reshape(k // per, per, n).transpose(1, 2), bits),
        "qzeros": words((z - 1).reshape(k // group, n // per, per), bits),
        "scales": s,
        "g_idx": index.to(torch.int32),
    }
    return parts, ((q - z[index]).float() * s[index].float()).T


def awq(n, k, group):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    q, z, s = integers((k, n), 16), integers((k // group, n), 16), scales(k // group, n)
    pack = lambda values: words(values.reshape(values.shape[0], n // 8, 8)[:, :, order], 4)
    index = torch.arange(k) // group
    return {"qweight": pack(q), "qzeros": pack(z), "scales": s}, ((q - z[index]).float() * s[index].float()).T


def fp8(n, k, kind, tile):
    type_ = torch.float8_e5m2 if kind == "e5m2" else torch.float8_e4m3fn
    weight = torch.randn((n, k), generator=GENERATOR).mul(30).to(type_)
    if tile is None:
        scale = torch.tensor(0.004)
        return {"weight": weight, "weight_scale": scale}, weight.float() * scale
    rows, columns = -(-n // tile[0]), -(-k // tile[1])
    scale = 0.003 + 0.002 * torch.rand((rows, columns), generator=GENERATOR)
    name = "weight_scale" if kind == "rows" else "weight_scale_inv"
    if kind == "rows":
        scale = scale.bfloat16()
    spread = scale.float().repeat_interleave(tile[0], 0)[:n].repeat_interleave(tile[1], 1)[:, :k]
    return {"weight": weight, name: scale}, weight.float() * spread


def fp8_config(**more):
    return dict(quant_method="fp8", **more)


MODELS = {
    "gptq-sym": (LlamaConfig, lambda n, k: gptq(n, k, 4, 32, True), dict(quant_method="gptq", bits=4, group_size=32, sym=True, desc_act=False)),
    "gptq-zeros": (LlamaConfig, lambda n, k: gptq(n, k, 4, 32, False), dict(quant_method="gptq", bits=4, group_size=32, sym=False, desc_act=False)),
    "gptq-8": (LlamaConfig, lambda n, k: gptq(n, k, 8, k, True), dict(quant_method="gptq", bits=8, group_size=-1, sym=True, desc_act=True)),
    "awq": (LlamaConfig, lambda n, k: awq(n, k, 32), dict(quant_method="awq", bits=4, group_size=32, version="gemm", zero_point=True)),
    "fp8-tensor": (Qwen3Config, lambda n, k: fp8(n, k, "e4m3", None), fp8_config(activation_scheme="static")),
    "fp8-e5m2": (LlamaConfig, lambda n, k: fp8(n, k, "e5m2", None), fp8_config()),
    "fp8-rows": (LlamaConfig, lambda n, k: fp8(n, k, "rows", (1, k)), dict(quant_method="compressed-tensors", format="float-quantized")),
    "fp8-tiles": (Qwen3Config, lambda n, k: fp8(n, k, "tiles", (48, 32)), fp8_config(weight_block_size=[48, 32])),
}


def main():
    for name, (kind, quantize, settings) in MODELS.items():
        config = kind(**SHAPE, **({"head_dim": 16} if kind is Qwen3Config else {}), tie_word_embeddings=True)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        tensors = {}
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if key == "lm_head.weight":
                    continue
                if key.endswith("_proj.weight"):
                    parts, dense = quantize(*value.shape)
                    value.copy_(dense)
                    stem = key.removesuffix(".weight")
                    tensors |= {f"{stem}.{part}": tensor.contiguous() for part, tensor in parts.items()}
                    if name == "fp8-tensor":
                        tensors[f"{stem}.input_scale"] = torch.tensor(1.0)
                else:
                    value.copy_(torch.randn(value.shape, generator=GENERATOR) * (0.3 if "norm" in key else 0.2) + ("norm" in key))
                    value.copy_(value.half())
                    tensors[key] = value.half()
            ids = torch.randint(3, 64, (TOKENS,), generator=GENERATOR)
            logits = model(ids[None]).logits[0].float()
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "model.safetensors")
        save_file({"ids": ids.int(), "logits": logits.contiguous()}, folder / "golden.safetensors")
        described = {**config.to_diff_dict(), "architectures": [type(model).__name__], "quantization_config": settings}
        (folder / "config.json").write_text(json.dumps(described, indent=1, default=str) + "\n")
        print(name, float(logits.abs().max()))
    every = torch.arange(256, dtype=torch.uint8)
    text = lambda type_: base64.b64encode(every.view(type_).float().numpy().astype(np.float32).tobytes()).decode()
    values = {"e4m3_32": text(torch.float8_e4m3fn), "e5m2_32": text(torch.float8_e5m2)}
    (FOLDER / "fp8.json").write_text(json.dumps(values, indent=1) + "\n")


main()
