"""Perplexities by transformers of tiny models, for test/models/perplexity.test.ts.

    python test/models/make-perplexity-goldens.py > test/models/fixtures/perplexity.json

`strided` follows "Perplexity of fixed-length models" of its documentation: what is new in each window is scored. `halves` follows
llama.cpp's rule: whole windows that begin with the token of a beginning, the second half of each scored.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

FIXTURES = Path(__file__).parent / "fixtures"
LENGTH = 24
BEGIN = 1

goldens = []
for seed, name in enumerate(["llama", "mistral", "qwen3"]):
    model = AutoModelForCausalLM.from_pretrained(FIXTURES / name, attn_implementation="eager").float().eval()
    ids = torch.randint(3, model.config.vocab_size, (1, 150), generator=torch.Generator().manual_seed(seed))

    def total(window, scored):
        """Negative log-likelihood of the last `scored` tokens of a window."""
        labels = window.clone()
        labels[:, : window.shape[1] - scored] = -100
        with torch.no_grad():
            return model(window, labels=labels).loss.double().item() * min(scored, window.shape[1] - 1)

    for stride in (8, 23):
        sums, count, scored_until = 0.0, 0, 0
        for begin in range(0, ids.shape[1], stride):
            end = min(begin + LENGTH, ids.shape[1])
            scored = min(end - scored_until, end - begin)
            sums += total(ids[:, begin:end], scored)
            count += min(scored, end - begin - 1)
            scored_until = end
            if end == ids.shape[1]:
                break
        goldens.append({"model": name, "rule": "strided", "stride": stride, "nll": sums / count, "tokens": count})

    sums, count = 0.0, 0
    for begin in range(0, ids.shape[1] - LENGTH + 1, LENGTH):
        window = ids[:, begin : begin + LENGTH].clone()
        window[0, 0] = BEGIN
        scored = LENGTH - LENGTH // 2 - 1
        sums += total(window, scored)
        count += scored
    goldens.append({"model": name, "rule": "halves", "nll": sums / count, "tokens": count})
    goldens[-1]["ids"] = goldens[-2]["ids"] = goldens[-3]["ids"] = ids[0].tolist()
json.dump({"length": LENGTH, "begin": BEGIN, "goldens": goldens}, sys.stdout)
