"""Makes test/unit/fixtures/quants.json: what ggml itself encodes and decodes.

Needs numpy, gguf (pip) and a libggml-base shared library of llama.cpp:
    python make-quants.py path/to/libggml-base.so

Decoded values come from gguf's own decoder; encoded bytes from ggml's reference encoders (quantize_row_*_ref), and for
the formats that gguf can encode both must agree. With a second argument, writes that many random super-blocks and
their encodings as raw files into a folder for a longer comparison:
    python make-quants.py path/to/libggml-base.so FOLDER COUNT
"""

import base64
import ctypes
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

FORMATS = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_0": "Q4_0", "q4_K": "Q4_K", "q6_K": "Q6_K"}
# Byte offsets of the f16 scales in a block, which random bytes must not make infinite or NaN.
SCALES = {"q8_0": [0], "q4_0": [0], "q4_K": [0, 2], "q6_K": [208]}


def encode(library: ctypes.CDLL, name: str, values: np.ndarray) -> bytes:
    kind = GGMLQuantizationType[FORMATS[name]]
    if name not in SCALES:
        return quants.quantize(values, kind).tobytes()
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    out = np.zeros(values.size // block_size * block_bytes, dtype=np.uint8)
    function = getattr(library, f"quantize_row_{name}_ref")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    function(values.ctypes.data, out.ctypes.data, values.size)
    if name in ("q8_0", "q4_0"):
        assert quants.quantize(values, kind).tobytes() == out.tobytes(), name
    return out.tobytes()


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


def random_bytes(random: np.random.Generator, name: str, blocks: int) -> np.ndarray:
    block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[FORMATS[name]]][1]
    data = random.integers(0, 256, (blocks, block_bytes), dtype=np.uint8)
    for offset in SCALES[name]:
        scale = random.standard_normal(blocks).astype(np.float16)
        data[:, offset : offset + 2] = scale.view(np.uint8).reshape(-1, 2)
    return data


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    library = ctypes.CDLL(sys.argv[1])
    random = np.random.default_rng(20250101)
    if len(sys.argv) > 2:
        folder, count = Path(sys.argv[2]), int(sys.argv[3])
        spread = 10.0 ** random.uniform(-6, 4, (count, 1))
        values = (random.standard_normal((count, 256)) * spread + spread * random.integers(-1, 2, (count, 1)))
        values = values.astype(np.float32).reshape(-1)
        (folder / "values").write_bytes(values.tobytes())
        for name in FORMATS:
            (folder / name).write_bytes(encode(library, name, values))
        return
    values = hard_values(random)
    encoded = {name: text(encode(library, name, values)) for name in FORMATS if name != "f32"}
    decoded = {}
    for name in SCALES:
        data = random_bytes(random, name, 16 if name in ("q8_0", "q4_0") else 2)
        floats = quants.dequantize(data, GGMLQuantizationType[FORMATS[name]])
        decoded[name] = {"bytes": text(data.tobytes()), "values": text(floats.astype(np.float32).tobytes())}
    golden = {"values": text(values.tobytes()), "encoded": encoded, "decoded": decoded}
    path = Path(__file__).parent.parent / "fixtures" / "quants.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


main()
