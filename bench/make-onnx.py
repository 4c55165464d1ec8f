"""An ONNX file of a Llama's shape with random weights in 4 bits, as onnxruntime and transformers.js run such models on CPUs:

    python bench/make-onnx.py OUT.onnx [--layers 16 --hidden 2048 --heads 32 --kv-heads 8 --feed-forward 8192 --vocabulary 128256]

The operators are those of the model builder of onnxruntime-genai (com.microsoft): MatMulNBits of blocks of 32 with activations in 8 bits
(accuracy level 4), GroupQueryAttention with rotary embeddings, SkipSimplifiedLayerNormalization; embeddings are looked up in f32. Weights
lie in OUT.onnx.data. Needs the packages onnx and numpy. For bench/onnx.ts.
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto, helper

CONTEXT = 4352
BLOCK = 32


class Builder:
    def __init__(self, data_path, data_name):
        self.nodes = []
        self.initializers = []
        self.file = open(data_path, "wb")
        self.name = data_name
        self.random = np.random.default_rng(1)

    def constant(self, name, array):
        """A tensor in the file beside the model."""
        offset = (self.file.tell() + 4095) // 4096 * 4096
        self.file.seek(offset)
        self.file.write(array.tobytes())
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in {"location": self.name, "offset": offset, "length": array.nbytes}.items():
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name

    def node(self, op, inputs, outputs, **attributes):
        domain = {} if op in ("Gather", "Mul", "Sigmoid") else {"domain": "com.microsoft"}
        if op == "SimplifiedLayerNormalization":
            domain = {}
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **domain, **attributes))
        return outputs[0]

    def product(self, name, x, k, n):
        blocks = k // BLOCK
        codes = self.random.integers(0, 256, (n, blocks, BLOCK // 2), dtype=np.uint8)
        # Codes are uniform around 8 with a deviation of 4.6.
        scales = np.full((n * blocks,), 0.02 / 4.6, dtype=np.float32)
        inputs = [x, self.constant(f"{name}.codes", codes), self.constant(f"{name}.scales", scales)]
        return self.node("MatMulNBits", inputs, [f"{name}.out"], K=k, N=n, bits=4, block_size=BLOCK, accuracy_level=4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    for name, value in {
        "layers": 16,
        "hidden": 2048,
        "heads": 32,
        "kv-heads": 8,
        "feed-forward": 8192,
        "vocabulary": 128256,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    head_dim = args.hidden // args.heads
    kv_size = args.kv_heads * head_dim
    b = Builder(args.out + ".data", args.out.split("/")[-1] + ".data")

    angles = np.outer(np.arange(CONTEXT), 500000.0 ** (-np.arange(0, head_dim, 2) / head_dim)).astype(np.float32)
    cos, sin = b.constant("cos", np.cos(angles)), b.constant("sin", np.sin(angles))
    ones = b.constant("ones", np.ones(args.hidden, dtype=np.float32))
    table = b.random.normal(0, 0.02, (args.vocabulary, args.hidden)).astype(np.float32)
    hidden = b.node("Gather", [b.constant("embeddings", table), "input_ids"], ["hidden0"])
    normed = b.node("SimplifiedLayerNormalization", [hidden, ones], ["normed0"], axis=-1, epsilon=1e-5, stash_type=1)
    caches_in, caches_out = [], []
    shape = ["batch", args.kv_heads, "past", head_dim]
    for layer in range(args.layers):
        at = f"layer{layer}"
        q = b.product(f"{at}.q", normed, args.hidden, args.hidden)
        k = b.product(f"{at}.k", normed, args.hidden, kv_size)
        v = b.product(f"{at}.v", normed, args.hidden, kv_size)
        past = [f"past_key_values.{layer}.{of}" for of in ("key", "value")]
        present = [f"present.{layer}.{of}" for of in ("key", "value")]
        caches_in += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in past]
        caches_out += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [*shape[:2], "total", head_dim]) for name in present
        ]
        attended = b.node(
            "GroupQueryAttention",
            [q, k, v, *past, "seqlens_k", "total_sequence_length", cos, sin],
            [f"{at}.attended", *present],
            num_heads=args.heads,
            kv_num_heads=args.kv_heads,
            do_rotary=1,
            scale=head_dim**-0.5,
        )
        projected = b.product(f"{at}.o", attended, args.hidden, args.hidden)
        skip = {"epsilon": 1e-5}
        outputs = [f"{at}.normed", "", "", f"{at}.residual"]
        normed = b.node("SkipSimplifiedLayerNormalization", [hidden, projected, ones], outputs, **skip)
        hidden = f"{at}.residual"
        gate = b.product(f"{at}.gate", normed, args.hidden, args.feed_forward)
        up = b.product(f"{at}.up", normed, args.hidden, args.feed_forward)
        sigmoid = b.node("Sigmoid", [gate], [f"{at}.sigmoid"])
        silu = b.node("Mul", [gate, sigmoid], [f"{at}.silu"])
        down = b.product(f"{at}.down", b.node("Mul", [silu, up], [f"{at}.gated"]), args.feed_forward, args.hidden)
        outputs = [f"{at}.normed2", "", "", f"{at}.residual2"]
        normed = b.node("SkipSimplifiedLayerNormalization", [hidden, down, ones], outputs, **skip)
        hidden = f"{at}.residual2"
    # Logits of the last token alone, as Ingot and llama.cpp compute them.
    last = b.node("Gather", [normed, "last"], ["last_hidden"], axis=1)
    logits = b.product("head", last, args.hidden, args.vocabulary)
    b.file.close()

    int64, int32 = TensorProto.INT64, TensorProto.INT32
    inputs = [
        helper.make_tensor_value_info("input_ids", int64, ["batch", "tokens"]),
        helper.make_tensor_value_info("last", int64, [1]),
        helper.make_tensor_value_info("seqlens_k", int32, ["batch"]),
        helper.make_tensor_value_info("total_sequence_length", int32, []),
        *caches_in,
    ]
    outputs = [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", 1, args.vocabulary]), *caches_out]
    graph = helper.make_graph(b.nodes, "llama", inputs, outputs, b.initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), args.out)


main()
