"""Makes test/unit/fixtures/quants.json: what ggml itself encodes and decodes.

Needs numpy, gguf (pip) and a libggml-base shared library of llama.cpp:
    python make-quants.py path/to/libggml-base.so

Decoded values come from gguf's decoder and from ggml's, which must agree. Encoded bytes come from ggml_quantize_chunk,
which llama.cpp's quantize calls, without and with an importance matrix; for formats that gguf encodes too both must agree.
With a second argument, writes that many random super-blocks and their encodings as raw files into a folder for a longer
comparison:
    python make-quants.py path/to/libggml-base.so FOLDER COUNT
"""

import base64
import ctypes
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

# Byte offsets of the f16 scales in a block, which random bytes must not make infinite or NaN.
SCALES = {
    "f16": [0], "bf16": [], "q8_0": [0], "q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q2_K": [80, 82],
    "q3_K": [108], "q4_K": [0, 2], "q5_K": [0, 2], "q6_K": [208], "iq4_nl": [0], "iq4_xs": [0], "mxfp4": [],
    "nvfp4": [], "tq1_0": [52], "tq2_0": [64], "iq2_xxs": [0], "iq2_xs": [0], "iq2_s": [0], "iq3_xxs": [0], "iq3_s": [0],
}  # fmt: skip
ENCODED = [name for name in SCALES if not name.startswith(("iq2", "iq3"))]
GGUF_ENCODES = ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "tq1_0", "tq2_0", "mxfp4"]
WEIGHTED = ["q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"]
COLUMNS = 512


def kind_of(name: str) -> GGMLQuantizationType:
    return GGMLQuantizationType[name.upper()]


def encode(library: ctypes.CDLL, name: str, values: np.ndarray, importance: np.ndarray | None = None) -> bytes:
    kind = kind_of(name)
    if name in ("f16", "bf16"):
        return quants.quantize(values, kind).tobytes()
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    out = np.zeros(values.size // block_size * block_bytes, dtype=np.uint8)
    function = library.ggml_quantize_chunk
    number = ctypes.c_int64
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, number, number, number, ctypes.c_void_p]
    function.restype = ctypes.c_size_t
    weights = None if importance is None else importance.ctypes.data
    columns = COLUMNS if values.size % COLUMNS == 0 else 256
    function(kind, values.ctypes.data, out.ctypes.data, 0, values.size // columns, columns, weights)
    return out.tobytes()


def decode(library: ctypes.CDLL, name: str, data: np.ndarray) -> np.ndarray:
    floats = quants.dequantize(data, kind_of(name)).astype(np.float32).reshape(-1)
    if name not in ("f16", "bf16"):
        out = np.zeros(floats.size, dtype=np.float32)
        function = getattr(library, f"dequantize_row_{name}")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function.restype = None
        function(data.ctypes.data, out.ctypes.data, out.size)
        assert out.tobytes() == floats.tobytes(), name
    return floats


def hard_values(random: np.random.Generator) -> np.ndarray:
    """Super-blocks of 256 that reach the corners of the encoders."""
    normal = random.standard_normal((8, 256))
    normal[1] = normal[1] * 1e-3 + 0.02  # all of one sign
    normal[2] *= 1e3 * random.random(256) ** 6  # heavy tails
    normal[3, 64:96] = 0  # an empty sub-block among others
    normal[4] = 0
    normal[5] = 0.375  # constant
    normal[6] = np.linspace(-1, 1, 256)
    normal[7] = np.abs(normal[7]) * 1e-5
    return normal.astype(np.float32).reshape(-1)


def odd_values(random: np.random.Generator) -> np.ndarray:
    """Super-blocks of 256 with what no model has."""
    values = random.standard_normal((10, 256)).astype(np.float32)
    values[0] = np.nan
    values[1, 0] = np.nan
    values[2, 77] = np.nan
    values[3, 5] = np.inf
    values[4, 0] = -np.inf
    values[5, 200] = np.inf
    values[5, 201] = -np.inf
    values[6] *= 1e37
    values[7] *= 1e6  # scales pass the range of f16
    values[8] *= 1e-38  # subnormals
    values[9] *= 1e-43
    return values.reshape(-1)


def canonical(name: str, data: bytes) -> bytes:
    """With the sign of scales that are NaN, which depends on the processor, cleared."""
    blocks = np.frombuffer(data, dtype=np.uint8).reshape(-1, GGML_QUANT_SIZES[kind_of(name)][1]).copy()
    for offset in SCALES[name]:
        scales = blocks[:, offset : offset + 2].copy().view(np.uint16).reshape(-1)
        scales[(scales & 0x7FFF) > 0x7C00] = 0x7E00
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.tobytes()


def random_bytes(random: np.random.Generator, name: str, blocks: int) -> np.ndarray:
    block_bytes = GGML_QUANT_SIZES[kind_of(name)][1]
    data = random.integers(0, 256, (blocks, block_bytes), dtype=np.uint8)
    for offset in SCALES[name]:
        scale = random.standard_normal(blocks).astype(np.float16)
        data[:, offset : offset + 2] = scale.view(np.uint8).reshape(-1, 2)
    if name == "bf16":
        data[:, 1] = data[:, 1] & 0xBF
    return data


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    library = ctypes.CDLL(sys.argv[1])
    random = np.random.default_rng(20250101)
    if len(sys.argv) > 2:
        folder, count = Path(sys.argv[2]), int(sys.argv[3])
        spread = 10.0 ** random.uniform(-6, 4, (count, 1))
        values = random.standard_normal((count, 256)) * spread + spread * random.integers(-1, 2, (count, 1))
        values = values.astype(np.float32).reshape(-1)
        importance = (random.standard_normal(COLUMNS) ** 2).astype(np.float32)
        (folder / "values").write_bytes(values.tobytes())
        (folder / "importance").write_bytes(importance.tobytes())
        for name in ENCODED:
            (folder / name).write_bytes(encode(library, name, values))
        for name in WEIGHTED:
            (folder / f"{name}.weighted").write_bytes(encode(library, name, values, importance))
        return
    values = hard_values(random)
    encoded = {name: encode(library, name, values) for name in ENCODED}
    for name in GGUF_ENCODES:
        assert quants.quantize(values, kind_of(name)).tobytes() == encoded[name], name
    importance = (random.standard_normal(COLUMNS) ** 2).astype(np.float32)
    weighted = {name: encode(library, name, values, importance) for name in WEIGHTED}
    odd = odd_values(random)
    odd_encoded = {name: canonical(name, encode(library, name, odd)) for name in ENCODED}
    odd_weighted = {name: canonical(name, encode(library, name, odd, importance)) for name in WEIGHTED}
    decoded = {}
    for name in SCALES:
        block_size = GGML_QUANT_SIZES[kind_of(name)][0]
        data = random_bytes(random, name, max(2, 256 // block_size))
        decoded[name] = {"bytes": text(data.tobytes()), "values": text(decode(library, name, data).tobytes())}
    golden = {
        "values": text(values.tobytes()),
        "importance": text(importance.tobytes()),
        "encoded": {name: text(data) for name, data in encoded.items()},
        "weighted": {name: text(data) for name, data in weighted.items()},
        "odd": text(odd.tobytes()),
        "oddEncoded": {name: text(data) for name, data in odd_encoded.items()},
        "oddWeighted": {name: text(data) for name, data in odd_weighted.items()},
        "decoded": decoded,
    }
    path = Path(__file__).parent.parent / "fixtures" / "quants.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


main()
