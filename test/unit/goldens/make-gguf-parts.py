"""Writes test/unit/fixtures/gguf-parts/: a file of three tensors in three parts, as gguf-py splits it. Needs `pip install gguf`."""

from pathlib import Path

import gguf
import numpy as np

folder = Path(__file__).parent.parent / "fixtures" / "gguf-parts"
folder.mkdir(parents=True, exist_ok=True)
writer = gguf.GGUFWriter(folder / "model.gguf", "llama", split_max_tensors=1)
writer.add_name("three tensors")
for i, name in enumerate(["a", "b", "c"]):
    writer.add_tensor(name, np.arange(i, i + 8, dtype=np.float32).reshape(2, 4))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
