"""Makes the golden logits of the model tests with Hugging Face transformers, on tiny random configurations.

Run: python test/models/goldens.py [NAME...] (needs torch, transformers, safetensors). Each folder of test/models/fixtures gets
config.json, model.safetensors (or shards) and golden.safetensors: `ids` [N], `logits` [N, vocabulary] in f32. Models that
embed texts have `embedding` [hidden] instead, and say how it is made as sentence-transformers does.

Weights are far from zero and norms far from one, so that a swapped gate, a missed norm or bias, or a wrong rope,
window or scaling moves the logits by much more than the tolerance.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, DeepseekV2Config, Gemma2Config, Gemma3TextConfig
from transformers import GPT2Config, GPTNeoXConfig, GptOssConfig, GraniteConfig, LlamaConfig, MistralConfig, MixtralConfig
from transformers import Olmo2Config, OlmoeConfig, Phi3Config, Qwen2Config, Qwen2MoeConfig, Qwen3Config, Qwen3MoeConfig
from transformers import RobertaConfig, XLMRobertaConfig

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

TOKENS_OF = dict(bos_token_id=1, eos_token_id=2)
WIDE = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
CAPS = dict(attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.25, 1.5, 2.0],
    "long_factor": [1.5, 3.0, 5.0, 9.0],
}

# Several experts, some of them chosen.
EXPERTS = dict(num_experts=6, num_experts_per_tok=3)
LATENT = dict(
    **{**SHAPE, "num_key_value_heads": 4},
    kv_lora_rank=24,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=24,
    n_routed_experts=6,
    num_experts_per_tok=3,
    n_shared_experts=2,
    first_k_dense_replace=1,
    moe_intermediate_size=16,
    routed_scaling_factor=1.5,
)
BLOCKS = dict(kv_lora_rank=64, qk_nope_head_dim=32, intermediate_size=64, moe_intermediate_size=32)
MSCALE = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 32,
}
GPT_OSS = dict(
    **{**SHAPE, "intermediate_size": 64},
    head_dim=16,
    num_local_experts=5,
    num_experts_per_tok=3,
    sliding_window=9,
    rope_parameters={
        "rope_type": "yarn",
        "rope_theta": 5000.0,
        "factor": 4.0,
        "beta_fast": 8.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 32,
    },
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
    "phi3": Phi3Config(**SHAPE, sliding_window=11, partial_rotary_factor=0.5),
    # 40 tokens are more than the original context, and the other model's are not: both sets of factors.
    "phi3-long": Phi3Config(**SHAPE, original_max_position_embeddings=32, rope_scaling=LONGROPE),
    "phi3-short": Phi3Config(
        **{**SHAPE, "max_position_embeddings": 600},
        original_max_position_embeddings=300,
        rope_scaling=LONGROPE,
    ),
    # A head size that the GGUF keys imply, and one that they cannot say.
    "gemma2": Gemma2Config(**SHAPE, head_dim=16, sliding_window=9, query_pre_attn_scalar=16, **CAPS),
    "gemma2-scale": Gemma2Config(**SHAPE, head_dim=16, sliding_window=9, query_pre_attn_scalar=40, **CAPS),
    "gemma3": Gemma3TextConfig(
        **{**SHAPE, "num_hidden_layers": 6, "num_attention_heads": 2, "num_key_value_heads": 1},
        head_dim=16,
        sliding_window=9,
        query_pre_attn_scalar=16,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    ),
    "olmo2": Olmo2Config(**SHAPE, rope_theta=500.0),
    "granite": GraniteConfig(
        **SHAPE,
        embedding_multiplier=3.0,
        residual_multiplier=0.4,
        attention_multiplier=0.21,
        logits_scaling=2.5,
    ),
    "gpt2": GPT2Config(vocab_size=96, n_positions=64, n_embd=32, n_layer=2, n_head=4, n_inner=48, **TOKENS_OF),
    "gpt-neox": GPTNeoXConfig(**WIDE, rotary_pct=0.5, use_parallel_residual=True),
    "gpt-neox-sequential": GPTNeoXConfig(**WIDE, rotary_pct=1.0, use_parallel_residual=False),
}
BERT = {**WIDE, "num_hidden_layers": 2, "type_vocab_size": 2}
EMBEDDERS = {
    "bert-mean": (BertConfig(**BERT), "mean_tokens"),
    "bert-cls": (BertConfig(**BERT), "cls_token"),
    # The first position is behind the id of padding.
    "roberta": (RobertaConfig(**{**BERT, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0}), "mean_tokens"),
    "qwen3-embedding": (Qwen3Config(**SHAPE, head_dim=16), "lasttoken"),
    "xlm-roberta": (XLMRobertaConfig(**{**BERT, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0}), "cls_token"),
}
MIXTURES = {
    "mixtral": MixtralConfig(**SHAPE, num_local_experts=5, num_experts_per_tok=2, rope_theta=1000.0),
    "qwen2-moe": Qwen2MoeConfig(
        **SHAPE, **EXPERTS, moe_intermediate_size=24, shared_expert_intermediate_size=40, norm_topk_prob=False
    ),
    # Matrices that fill no panel.
    "qwen3-moe": Qwen3MoeConfig(**SHAPE, **EXPERTS, head_dim=16, moe_intermediate_size=20, norm_topk_prob=True),
    "olmoe": OlmoeConfig(**{**SHAPE, "intermediate_size": 24, "num_key_value_heads": 4}, **EXPERTS, rope_theta=500.0),
    "gpt-oss": GptOssConfig(**GPT_OSS),
    # llama.cpp rounds the range of YaRN's ramp to whole dimensions: without YaRN it computes the same.
    "gpt-oss-mxfp4": GptOssConfig(**{**GPT_OSS, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "deepseek-v2-lite": DeepseekV2Config(**LATENT, q_lora_rank=None, rope_parameters=MSCALE),
    "deepseek-v2": DeepseekV2Config(
        **LATENT, q_lora_rank=20, topk_method="group_limited_greedy", n_group=3, topk_group=2
    ),
    # llama.cpp takes none of those two: the Lite model it knows by its 27 layers, and groups it ranks otherwise. Rows of
    # whole blocks, so that its matrices can be quantized.
    "deepseek-v2-yarn": DeepseekV2Config(**{**LATENT, **BLOCKS}, q_lora_rank=32, rope_parameters=MSCALE),
}
# The seed of a model is its place: what came later stands here.
LATER = {
    # Phi-4-mini: a part of each head turns, stretched by LongRoPE, and the head is the embedding.
    "phi4-mini": Phi3Config(
        **SHAPE,
        original_max_position_embeddings=32,
        tie_word_embeddings=True,
        rope_parameters={
            **LONGROPE,
            "partial_rotary_factor": 0.75,
            "short_factor": [1.0, 1.25, 2.0],
            "long_factor": [1.5, 4.0, 9.0],
        },
    ),
}
SHARDED = {"qwen2"}
# Saved in bf16, which the goldens see too: smaller files, and another format.
HALVED = {"gemma3", "gpt-neox", "phi3-short", "bert-cls", "roberta", "xlm-roberta", "qwen3-embedding", "deepseek-v2-yarn"}


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def as_mxfp4(parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    """Rounds experts [E, K, N] to blocks of 32 along K; what a folder has of them: `blocks` and `scales` of [E, N, K]."""
    values = parameter.detach().transpose(1, 2)
    experts, rows, columns = values.shape
    blocks = values.reshape(experts, rows, columns // 32, 32)
    exponents = torch.floor(torch.log2(blocks.abs().amax(-1, keepdim=True))) - 2
    levels = (blocks / 2**exponents)[..., None].sub(FP4).abs().argmin(-1)
    rounded = (FP4[levels] * 2**exponents).reshape(values.shape)
    with torch.no_grad():
        parameter.copy_(rounded.transpose(1, 2))
    pairs = levels.reshape(experts, rows, columns // 32, 16, 2)
    return {
        "blocks": (pairs[..., 0] | pairs[..., 1] << 4).to(torch.uint8),
        "scales": (exponents.squeeze(-1) + 127).to(torch.uint8),
    }


def pack_experts(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    packed = {}
    for name, parameter in list(model.named_parameters()):
        if name.endswith(("gate_up_proj", "down_proj")) and parameter.dim() == 3:
            packed |= {f"{name}_{part}": tensor for part, tensor in as_mxfp4(parameter).items()}
    return packed


def randomize(model: torch.nn.Module, seed: int, halved: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Gemma's norms are stored less one.
    one = 0 if model.config.model_type.startswith("gemma") else 1
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        turned = model.config.model_type == "gpt2" and parameter.dim() == 2 and "transformer.h" in name
        with torch.no_grad():
            if name.endswith("sinks"):
                parameter.copy_(1 + noise)
            elif parameter.dim() == 3 and model.config.model_type == "gpt_oss":
                # The other way round, and large enough for the limits of its gate.
                parameter.copy_(noise * (3 / parameter.shape[1] ** 0.5))
            elif name.endswith("bias"):
                parameter.copy_(0.5 * noise)
            elif "norm" in name or ".ln_" in name:
                parameter.copy_(one + 0.5 * noise)
            else:
                parameter.copy_(noise * (1.5 / parameter.shape[0 if turned else -1] ** 0.5))
            if halved:
                parameter.copy_(parameter.bfloat16())


def replace_experts(folder: Path, packed: dict[str, torch.Tensor]) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if f"{name}_blocks" not in packed}
    save_file({**kept, **packed}, folder / "model.safetensors", metadata={"format": "pt"})


def pool(hidden: torch.Tensor, mode: str) -> torch.Tensor:
    pooled = {"mean_tokens": hidden.mean(0), "cls_token": hidden[0], "lasttoken": hidden[-1]}[mode]
    return torch.nn.functional.normalize(pooled, dim=0)


def main() -> None:
    wanted = sys.argv[1:] or [*CONFIGS, *EMBEDDERS, *MIXTURES, *LATER]
    configs = [(name, config, None) for name, config in CONFIGS.items()]
    configs += [(name, config, mode) for name, (config, mode) in EMBEDDERS.items()]
    mixtures = [(name, config, None) for name, config in {**MIXTURES, **LATER}.items()]
    for seed, (name, config, mode) in [*enumerate(configs), *enumerate(mixtures, len(CONFIGS))]:
        if name not in wanted:
            continue
        make = AutoModelForCausalLM if mode is None else AutoModel
        model = make.from_config(config, attn_implementation="eager").float().eval()
        randomize(model, seed, name in HALVED)
        packed = pack_experts(model) if name.endswith("mxfp4") else {}
        ids = torch.randint(3, config.vocab_size, (TOKENS,), generator=torch.Generator().manual_seed(100 + seed))
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            if mode is None:
                results = {"logits": model(ids[None]).logits[0].float().contiguous()}
                top2 = results["logits"].topk(2).values
                print(f"{name}: smallest margin {(top2[:, 0] - top2[:, 1]).min():.4f}")
            else:
                results = {"embedding": pool(model(ids[None]).last_hidden_state[0], mode).float()}
        save_file({"ids": ids.int(), **results}, folder / "golden.safetensors")
        if name in HALVED:
            model = model.bfloat16()
        model.save_pretrained(folder, max_shard_size="40KB" if name in SHARDED else "1GB")
        if packed:
            replace_experts(folder, packed)
        (folder / "generation_config.json").unlink(missing_ok=True)
        if mode is not None:
            save_mode(folder, mode)


def save_mode(folder: Path, mode: str) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}, indent=2) + "\n")
    config = json.loads((folder / "config.json").read_text())
    # As the published folders say, although they hold no head.
    if config["model_type"] == "qwen3":
        config["architectures"] = ["Qwen3ForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
