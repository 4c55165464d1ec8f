"""Makes test/unit/fixtures/file-types.json: which format llama.cpp's quantize gives each tensor, for every file type that
Ingot makes and models that reach its rules.

Needs numpy, gguf (pip) and the shared libraries of llama.cpp in one folder:
    python make-file-types.py FOLDER
"""

import ctypes
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

FILE_TYPES = {
    "f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q6_K": 18, "q5_K_M": 17, "q5_K_S": 16, "q5_1": 9, "q5_0": 8, "q4_K_M": 15,
    "q4_K_S": 14, "q4_1": 3, "q4_0": 2, "iq4_nl": 25, "iq4_xs": 30, "q3_K_L": 13, "q3_K_M": 12, "q3_K_S": 11, "q2_K": 10,
    "tq2_0": 37, "tq1_0": 36, "mxfp4_moe": 38,
}  # fmt: skip

# Layers, width, width of the feed-forward part, heads, heads of keys and values, experts, whether there is a head.
MODELS = {
    "many layers": (20, 256, 256, 8, 2, 0, True),
    "tied embedding, no shared heads": (17, 256, 256, 4, 4, 0, False),
    "rows of other sizes": (3, 96, 160, 4, 2, 0, True),
    "eight experts": (9, 256, 256, 8, 2, 8, True),
    "four experts": (9, 256, 256, 8, 4, 4, True),
}


class Parameters(ctypes.Structure):
    """llama_model_quantize_params."""

    _fields_ = [
        *[(name, ctypes.c_int32) for name in ("nthread", "ftype", "output_type", "embedding_type")],
        *[(name, ctypes.c_bool) for name in ("requantize", "output", "copy", "pure", "split", "dry")],
        *[(name, ctypes.c_void_p) for name in ("imatrix", "overrides", "types", "prune")],
    ]


class Importance(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def write_model(path: Path, layers, width, forward, heads, kv_heads, experts, has_head) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    if experts > 0:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(32)

    def matrix(name: str, *shape: int) -> None:
        writer.add_tensor(name, np.full(shape, 0.5, np.float16))

    matrix("token_embd.weight", 32, width)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    if has_head:
        matrix("output.weight", 32, width)
    for layer in range(layers):
        at = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{at}{norm}.weight", np.ones(width, np.float32))
        for part, rows in (("q", width), ("k", width * kv_heads // heads), ("v", width * kv_heads // heads)):
            matrix(f"{at}attn_{part}.weight", rows, width)
        matrix(f"{at}attn_output.weight", width, width)
        if experts > 0:
            writer.add_tensor(f"{at}ffn_gate_inp.weight", np.ones((experts, width), np.float32))
        stack, ending = ((experts,), "_exps") if experts > 0 else ((), "")
        matrix(f"{at}ffn_gate{ending}.weight", *stack, forward, width)
        matrix(f"{at}ffn_up{ending}.weight", *stack, forward, width)
        matrix(f"{at}ffn_down{ending}.weight", *stack, width, forward)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    folder = Path(sys.argv[1])
    load = lambda name: ctypes.CDLL(str(next(folder.glob(name))), mode=ctypes.RTLD_GLOBAL)  # noqa: E731
    load("libggml-base*")
    ggml, llama = load("libggml.*"), load("libllama.*")
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    llama.llama_model_quantize_default_params.restype = Parameters
    formats: list[str] = []
    models = []
    with tempfile.TemporaryDirectory() as temporary:
        source, result = Path(temporary) / "source.gguf", Path(temporary) / "result.gguf"
        for name, (layers, width, forward, heads, kv_heads, experts, has_head) in MODELS.items():
            write_model(source, layers, width, forward, heads, kv_heads, experts, has_head)
            tensors = gguf.GGUFReader(source).tensors
            for weighted in (False, True) if name == "many layers" else (False,):
                chosen = {}
                for file_type, number in FILE_TYPES.items():
                    parameters = llama.llama_model_quantize_default_params()
                    parameters.nthread, parameters.ftype = 1, number
                    entry = (Importance * 2)()
                    weights = np.ones(width, np.float32)
                    entry[0] = Importance(b"blk.0.attn_q.weight", weights.ctypes.data, width)
                    if weighted:
                        parameters.imatrix = ctypes.addressof(entry)
                    arguments = (str(source).encode(), str(result).encode(), ctypes.byref(parameters))
                    assert llama.llama_model_quantize(*arguments) == 0, (name, file_type)
                    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(result).tensors}
                    # Of the enumeration; Ingot's names have its upper case K only.
                    names = [types[tensor.name].lower().replace("_k", "_K") for tensor in tensors]
                    formats.extend(sorted(set(names) - set(formats)))
                    chosen[file_type] = "".join(chr(ord("a") + formats.index(format)) for format in names)
                models.append({
                    "name": name,
                    "metadata": {
                        "general.architecture": "llama",
                        "llama.block_count": layers,
                        "llama.attention.head_count": heads,
                        "llama.attention.head_count_kv": kv_heads,
                        "llama.expert_count": experts,
                    },
                    "hasImportance": weighted,
                    "tensors": [[t.name, *(int(size) for size in reversed(t.shape))] for t in tensors],
                    "chosen": chosen,
                })  # fmt: skip
    path = Path(__file__).parent.parent / "fixtures" / "file-types.json"
    path.write_text(json.dumps({"formats": formats, "models": models}) + "\n")


main()
