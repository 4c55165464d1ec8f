"""Makes test/unit/fixtures/sentencepiece.json: small models that sentencepiece trains, and what it encodes and decodes with them.

Needs sentencepiece (pip) and a text in English:
    python make-sentencepiece.py TEXT
"""

import base64
import io
import json
import random
import sys
from pathlib import Path

import sentencepiece

OUT = Path(__file__).parents[1] / "fixtures" / "sentencepiece.json"
OTHERS = "Größe naïve Ärger ﬁne １２ 你好世界 Привет мир שלום مرحبا नमस्ते 😀👩‍👩‍👧 e\u0301 a\u00a0b a\u3000b don't 3.14 <tag> x=1;"
COMMON = dict(vocab_size=200, hard_vocab_limit=False, character_coverage=0.98, num_threads=1, minloglevel=2)
RULES = "ﬁ\tfi\n１\t1\n\u00a0\t \n\u3000\t \nÄ\tae\n"

MODELS = {
    "unigram": dict(model_type="unigram"),
    "unigram-bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=440),
    "unigram-spaces": dict(model_type="unigram", remove_extra_whitespaces=False, add_dummy_prefix=False),
    "unigram-symbols": dict(model_type="unigram", user_defined_symbols=["<tag>", "ing"], control_symbols=["<c>"]),
    "unigram-rules": dict(model_type="unigram", rules=RULES),
    "bpe": dict(model_type="bpe"),
    "bpe-bytes": dict(model_type="bpe", byte_fallback=True, vocab_size=440, split_digits=True),
    "bpe-spaces": dict(model_type="bpe", remove_extra_whitespaces=False, add_dummy_prefix=False),
}  # fmt: skip


def train(text: str, options: dict, folder: Path) -> bytes:
    options = dict(options)
    if rules := options.pop("rules", None):
        table = folder / "rules.tsv"
        as_code_points = [[" ".join(f"{ord(c):X}" for c in side) for side in line.split("\t")] for line in rules.split("\n") if line]
        table.write_text("".join("\t".join(sides) + "\n" for sides in as_code_points))
        options["normalization_rule_tsv"] = str(table)
    else:
        options.setdefault("normalization_rule_name", "identity")
    model = io.BytesIO()
    lines = [line for line in text.split("\n") if line] + [OTHERS] * 4
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **{**COMMON, **options})
    return model.getvalue()


def drawn(source: random.Random, text: str) -> str:
    alphabet = [*OTHERS, *"  \n\t▁", "  ", "the ", "ing", "<tag>", "<c>", "<unk>", "<0x41>"]
    start = source.randrange(len(text))
    parts = [source.choice(alphabet) for _ in range(source.randrange(12))] + [text[start : start + source.randrange(30)]]
    source.shuffle(parts)
    text = "".join(parts)
    # Of spaces that are written out at the beginning its decoder drops more than one.
    return "" if text.lstrip(" ").startswith("▁") else text


def main() -> None:
    text = Path(sys.argv[1]).read_text(encoding="utf8")[:60_000]
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/tmp")
    goldens = []
    for name, options in MODELS.items():
        model = train(text, options, folder)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        source = random.Random(name)
        texts = ["", " ", "the", "  the  king ", "a\nb", OTHERS, *(drawn(source, text) for _ in range(60))]
        cases = []
        for each in texts:
            ids = processor.encode(each)
            cases.append({"text": each, "ids": ids, "decoded": processor.decode(ids)})
        goldens.append({"name": name, "model": base64.b64encode(model).decode(), "cases": cases})
    OUT.write_text(json.dumps(goldens, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
