"""The bundled model as a GGUF file: written from a checkpoint, read back with dequantized weights. Needs the package gguf."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from checkpoint import Checkpoint
from model import Config, Tales
from text import BEGIN, END, SPECIAL

# System messages are left out: the model is too small to follow them, and stories stay good without.
CHAT_TEMPLATE = (
    "{{- bos_token -}}{%- for message in messages -%}{%- if message['role'] == 'user' -%}<|user|>{{- message['content'] | trim -}}"
    "{%- elif message['role'] == 'assistant' -%}<|story|>{{- message['content'] | trim -}}<|end|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|story|>{%- endif -%}"
)


def write(checkpoint: Checkpoint, tokenizer: Path, out: Path) -> None:
    """Matrices as Q8_0, norms as F32; tied embeddings, so there is no output.weight. Rotary pairs are already GGUF's."""
    config = checkpoint.config
    vocabulary = json.loads(tokenizer.read_text())["model"]
    tokens = [token for token, _ in sorted(vocabulary["vocab"].items(), key=lambda item: item[1])]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in vocabulary["merges"]]
    temporary = out.with_suffix(".tmp")
    w = gguf.GGUFWriter(temporary, "llama")
    w.add_name("Tales")
    w.add_description("A few million parameters that tell short stories in simple English")
    w.add_license("apache-2.0")
    w.add_size_label(f"{sum(t.numel() for t in checkpoint.weights.values()) / 1e6:.1f}M")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_vocab_size(config.vocab)
    w.add_context_length(config.context)
    w.add_embedding_length(config.dim)
    w.add_block_count(config.layers)
    w.add_feed_forward_length(config.ffn)
    w.add_head_count(config.heads)
    w.add_head_count_kv(config.kv_heads)
    w.add_layer_norm_rms_eps(config.epsilon)
    w.add_rope_dimension_count(config.head_dim)
    w.add_rope_freq_base(config.rope_base)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges(merges)
    w.add_bos_token_id(tokens.index(BEGIN))
    w.add_eos_token_id(tokens.index(END))
    w.add_eot_token_id(tokens.index(END))
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_chat_template(CHAT_TEMPLATE)
    for name, tensor in checkpoint.weights.items():
        data = tensor.float().numpy()
        if data.ndim == 2:
            w.add_tensor(name, gguf.quantize(data, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            w.add_tensor(name, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    temporary.replace(out)
    print(f"{out}: {out.stat().st_size} bytes; validation loss {checkpoint.loss:.4f}, {checkpoint.tokens} tokens")


def read(path: Path) -> tuple[Tales, Tokenizer]:
    """The model with DEQUANTIZED weights in f32 and the tokenizer, both from the GGUF file alone."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> object:
        field = reader.get_field(key)
        if field is None:
            raise KeyError(key)
        return field.contents()

    config = Config(
        vocab=int(str(value("llama.vocab_size"))), dim=int(str(value("llama.embedding_length"))), layers=int(str(value("llama.block_count"))),
        heads=int(str(value("llama.attention.head_count"))), kv_heads=int(str(value("llama.attention.head_count_kv"))),
        ffn=int(str(value("llama.feed_forward_length"))), context=int(str(value("llama.context_length"))),
        rope_base=float(str(value("llama.rope.freq_base"))), epsilon=float(str(value("llama.attention.layer_norm_rms_epsilon"))),
    )
    model = Tales(config)
    weights = {t.name: torch.from_numpy(np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32)) for t in reader.tensors}
    model.load_state_dict(weights)
    model.eval()
    tokens, merges = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.merges")
    assert isinstance(tokens, list) and isinstance(merges, list)
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return model, tokenizer
