"""Makes the golden logits of the model tests with Hugging Face transformers, on tiny random configurations.

Run: python test/models/goldens.py (needs torch, transformers, safetensors). Each folder of test/models/fixtures gets
config.json, model.safetensors (or shards) and golden.safetensors: `ids` [N], `logits` [N, vocabulary] in f32.

Weights are far from zero and norms far from one, so that a swapped gate, a missed norm or bias, or a wrong rope,
window or scaling moves the logits by much more than the tolerance.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

FIXTURES = Path(__file__).parent / "fixtures"
TOKENS = 40

SHAPE = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)

CONFIGS = {
    # Every head its own keys, tied embeddings: the first Llama's shape.
    "llama": LlamaConfig(**{**SHAPE, "num_key_value_heads": 4}, tie_word_embeddings=True, rms_norm_eps=1e-6),
    "llama-linear": LlamaConfig(**SHAPE, rope_scaling={"rope_type": "linear", "factor": 4.0}),
    "llama3": LlamaConfig(
        **{**SHAPE, "max_position_embeddings": 256},
        rope_theta=500.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "mistral": MistralConfig(**SHAPE, sliding_window=7, head_dim=16),
    "qwen2": Qwen2Config(**SHAPE, rope_theta=1000.0),
    "qwen2-yarn": Qwen2Config(
        **{**SHAPE, "max_position_embeddings": 128},
        rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    ),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
}
SHARDED = {"qwen2"}


def randomize(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if "norm" in name:
                parameter.copy_(1 + 0.5 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * (1.5 / parameter.shape[-1] ** 0.5))


def main() -> None:
    for seed, (name, config) in enumerate(CONFIGS.items()):
        config.attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomize(model, seed)
        ids = torch.randint(3, config.vocab_size, (TOKENS,), generator=torch.Generator().manual_seed(100 + seed))
        with torch.no_grad():
            logits = model(ids[None]).logits[0].float()
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, max_shard_size="40KB" if name in SHARDED else "1GB")
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file({"ids": ids.int(), "logits": logits.contiguous()}, folder / "golden.safetensors")
        top2 = logits.topk(2).values
        print(f"{name}: |logits| <= {logits.abs().max():.2f}, smallest margin {(top2[:, 0] - top2[:, 1]).min():.4f}")


if __name__ == "__main__":
    main()
