"""
Small tokenizers of every kind, trained by Hugging Face's `tokenizers` with many options, and strings to compare them on.

  python make-tokenizers.py goldens OUT.json        what test/unit/tokenizer-goldens.test.ts reads
  python make-tokenizers.py compare SEED COUNT DIR  writes DIR/NAME.json, and to standard output a line of JSON for each
                                                    tokenizer: {name, cases: [{text, ids, decoded}]}

Needs `tokenizers` 0.23; DATA (environment variable INGOT_TEST_DATA) adds real vocabularies and real text.
"""

import json
import os
import random
import struct
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

DATA = os.environ.get("INGOT_TEST_DATA")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

WORDS = (
    "the quick brown fox jumps over a lazy dog and isn't it the Größe of naïve café résumé déjà-vu 12345 3.14 "
    "Hello, world! don't we'll they've I'M HE'S x=y+1; foo_bar(baz)[0] {\"k\": 1} http://a.b/c?d=e&f "
    "Привет мир как дела 你好 世界 日本語 テスト ひらがな 한국어 안녕 שלום עולם مرحبا بالعالم नमस्ते ไทย "
    "😀 👍🏽 👩‍👩‍👧 🇩🇪 é e\u0301 Å A\u030a ﬁ ① Ⅷ ½ ß ſ İ ı Σ ς ΣΑΣ ǅ Ω K ① ２ … “q” — – ' ’"
).split(" ")
ODD = (
    "\u0000 \u0001 \u0007 \u001f \u007f \u0085 \u00a0 \u00ad \u0300 \u0301 \u034f \u0483 \u05b0 \u064b \u061c "
    "\u180e \u1680 \u2000 \u200b \u200c \u200d \u200e \u200f \u2028 \u2029 \u202e \u2060 \u2066 \u20e3 \u2581 \u3000 "
    "\u3099 \ufe0f \ufeff \ufffd \uffff \U0001f1e9 \U0001f1ea \U0001f3fd \U000e0001 \U0010fffd \ue000 \u0378 "
    "\u0e33 \u1100 \u1161 \u11a8 \uac00 \u1ee4\u0301 \u0344 \u0958 \u2126 \u212b \uf900 \U0002f800 \U0001d15e"
).split(" ")
CORPUS_SEED = 7


def string(rng: random.Random) -> str:
    kind = rng.random()
    length = rng.choice([0, 1, 2, 3, 5, 8, 13, 40])
    if kind < 0.35:
        parts = [rng.choice(WORDS) for _ in range(length)]
        return rng.choice([" ", " ", "  ", "\n", "", "\t"]).join(parts)
    if kind < 0.6:
        pool = WORDS + ODD + [" ", "  ", "   ", "\n", "\r\n", "\t", "'", "'s", "'LL"]
        return "".join(rng.choice(pool) for _ in range(length))
    if kind < 0.75:
        return "".join(chr(rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0, 0x250)])) for _ in range(length))
    if kind < 0.9:
        block = rng.randrange(0, 0x1F0) << 8
        return "".join(assigned(rng, block) for _ in range(length))
    return rng.choice(WORDS + ODD + [" ", "a", "\n"]) * length


EMOJI = [*range(0x1F300, 0x1F321), *range(0x1F400, 0x1F43F), *range(0x1F600, 0x1F642), *range(0x1F680, 0x1F6C6), 0x2764, 0x23, 0x31]
LEFTWARD = [*range(0x5B0, 0x5BD), *range(0x5D0, 0x5EB), *range(0x621, 0x63B), *range(0x640, 0x66A), *range(0x10900, 0x10916)]
CONTROLS = [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2065)]
CONTROLS += [*range(0x2066, 0x206A), 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0020, 0xE0080)]
MARKS = [*range(0x300, 0x370), *range(0x591, 0x5BE), 0x94D, 0x1161, 0x11A8, 0x20E3, 0x3099, 0xFE0F, *range(0x1F3FB, 0x1F400)]
PLANES = [*range(0x10330, 0x1034B), *range(0x1D400, 0x1D455), *range(0x20000, 0x20100), *range(0x1100, 0x1113), *range(0xAC00, 0xAC40)]


def edge(rng: random.Random) -> str:
    """What `string` has little of: emoji in sequences, right-to-left, controls, piles of marks, planes beyond the first."""
    length = rng.choice([1, 3, 8, 20])
    pool = rng.choice([EMOJI, LEFTWARD, CONTROLS, PLANES])
    between = rng.choice(["", " ", "\u200d", "\u200f", "a", None])
    characters = [chr(rng.choice(pool)) + rng.choice(["", "", chr(rng.choice(MARKS))]) for _ in range(length)]
    if between is None:
        return rng.choice("ae\u05d0\u1100") + "".join(chr(rng.choice(MARKS)) for _ in range(length))
    return between.join(characters)


def assigned(rng: random.Random, block: int) -> str:
    """A character that every table of either side knows: those of Unicode 8, roughly; unassigned ones are in ODD."""
    import unicodedata

    for _ in range(20):
        code = block + rng.randrange(256)
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            continue
        if unicodedata.ucd_3_2_0.category(chr(code)) != "Cn":
            return chr(code)
    return "x"


def corpus():
    rng = random.Random(CORPUS_SEED)
    lines = [" ".join(rng.choice(WORDS[:60]) for _ in range(rng.randrange(3, 12))) for _ in range(400)]
    if DATA:
        lines += Path(DATA, "text/tinyshakespeare.txt").read_text()[:60_000].split("\n")
    return lines


def trained(model, trainer, normalizer=None, pre=None, post=None, decoder=None, added=()):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus(), trainer)
    if post is not None:
        tokenizer.post_processor = post
    if decoder is not None:
        tokenizer.decoder = decoder
    for token in added:
        tokenizer.add_special_tokens([token]) if token.special else tokenizer.add_tokens([token])
    return tokenizer


def byte_bpe(pre, size=600, **options):
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    model = options.pop("model", models.BPE())
    return trained(model, trainer, pre=pre, decoder=decoders.ByteLevel(), **options)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def sequence(*parts):
    return pre_tokenizers.Sequence(list(parts))


RAW_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
ADDED = [
    AddedToken("<tool>", special=False, normalized=False),
    AddedToken("<left>", special=False, lstrip=True, normalized=False),
    AddedToken("<right>", special=True, rstrip=True, normalized=False),
    AddedToken("ing", special=False, single_word=True),
    AddedToken("brown", special=False, normalized=True),
]


def bpe(size=500, alphabet=(), **options):
    parts = {key: options.pop(key) for key in ["normalizer", "pre", "post", "decoder", "added"] if key in options}
    shared = {k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>", *alphabet], limit_alphabet=options.pop("limit", 80), show_progress=False, **shared
    )
    return trained(models.BPE(unk_token="<unk>", **options), trainer, **parts)


def sentencepiece_bpe(prefix):
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", "<s>", "</s>", *alphabet], limit_alphabet=60, show_progress=False
    )
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus(), trainer)
    raw = json.loads(tokenizer.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(raw))
    if prefix == "prepend":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
        tokenizer.pre_tokenizer = None
    elif prefix == "none":
        tokenizer.normalizer = replace
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix, split=False)
    strip = [] if prefix in ("none", "never") else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def wordpiece(normalizer, pre=None, **options):
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, limit_alphabet=120, show_progress=False)
    tokenizer = trained(
        models.WordPiece(unk_token="[UNK]", **options),
        trainer,
        normalizer=normalizer,
        pre=pre or pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram(normalizer=None, pre=None, byte_fallback=False, **options):
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False, shrinking_factor=0.7
    )
    tokenizer = trained(
        models.Unigram(),
        trainer,
        normalizer=normalizer,
        pre=pre or pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
        **options,
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def fields(message: bytes):
    """Numbers and values of a protocol buffer's fields."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        wire = tag & 7
        if wire == 0:
            yield tag >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(wire) or varint()
        yield tag >> 3, message[at : at + length]
        at += length


def from_sentencepiece(words: bool):
    """sentencepiece's own test model: its pieces and its table of characters."""
    pieces, table = [], b""
    for number, value in fields(Path(DATA, "tokenizers/models/sentencepiece.test_model.model").read_bytes()):
        parts = dict(fields(value)) if number in (1, 3) else {}
        if number == 1:
            pieces.append((parts[1].decode(), struct.unpack("<f", parts[2])[0] if 2 in parts else 0.0))
        if number == 3:
            table = parts[2]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.normalizer = normalizers.Precompiled(table)
    metaspace = pre_tokenizers.Metaspace()
    tokenizer.pre_tokenizer = sequence(pre_tokenizers.WhitespaceSplit(), metaspace) if words else metaspace
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


def gpt2():
    folder = Path(DATA, "tokenizers/models")
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "gpt2.vocab.json"), str(folder / "gpt2.merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def all_tokenizers():
    lower = normalizers.Lowercase()
    yield "bytes-gpt2", lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), added=ADDED)
    yield "bytes-prefix", lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True))
    yield "bytes-llama3", lambda: byte_bpe(sequence(split(LLAMA3), RAW_BYTES), model=models.BPE(ignore_merges=True))
    yield "bytes-cl100k", lambda: byte_bpe(sequence(split(CL100K), RAW_BYTES), normalizer=normalizers.NFC())
    yield "bytes-gpt4o", lambda: byte_bpe(sequence(split(GPT4O), RAW_BYTES), added=ADDED)
    yield "bytes-deepseek", lambda: byte_bpe(
        sequence(split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"), split(r"\s?\p{L}+"), split(r"\s+$"), RAW_BYTES)
    )
    yield "bytes-three-digits", lambda: byte_bpe(
        sequence(split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(r"(?=(\d{3})+(?!\d))"), RAW_BYTES)
    )
    yield "bytes-digits", lambda: byte_bpe(
        sequence(pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False))
    )
    yield "bytes-normalizer", lambda: byte_bpe(split(r"\s"), normalizer=normalizers.ByteLevel())
    for scheme in ["prepend", "none", "first", "always", "never"]:
        yield f"spm-bpe-{scheme}", lambda scheme=scheme: sentencepiece_bpe(scheme)
    yield "bpe-suffix", lambda: bpe(
        end_of_word_suffix="</w>",
        normalizer=normalizers.Sequence([normalizers.NFD(), lower, normalizers.StripAccents()]),
        pre=pre_tokenizers.Whitespace(),
        decoder=decoders.BPEDecoder(),
    )
    yield "bpe-prefix", lambda: bpe(continuing_subword_prefix="##", pre=pre_tokenizers.WhitespaceSplit())
    yield "bpe-prefix-suffix", lambda: bpe(
        continuing_subword_prefix="##", end_of_word_suffix="</w>", fuse_unk=True, pre=pre_tokenizers.Whitespace()
    )
    yield "bpe-fuse", lambda: bpe(fuse_unk=True, pre=pre_tokenizers.Punctuation("merged_with_previous"))
    yield "bpe-whole", lambda: bpe(ignore_merges=True, pre=sequence(pre_tokenizers.Punctuation(), pre_tokenizers.Whitespace()))
    yield "bpe-no-cut", lambda: bpe(normalizer=normalizers.NFKC())
    # GGUF calls it "whitespace": a vocabulary of characters, as jina-embeddings-v2-base-zh has it.
    yield "bpe-words", lambda: bpe(normalizer=lower, pre=pre_tokenizers.WhitespaceSplit())
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        for invert in [False, True]:
            yield f"split-{behavior}-{invert}", lambda b=behavior, i=invert: bpe(pre=split(r"\p{P}+|\s|[aeiou]{2}", b, i))
    yield "split-string", lambda: bpe(pre=pre_tokenizers.Split("a.", "merged_with_next"))
    yield "split-classes", lambda: bpe(
        pre=split(r"[[:alpha:]&&[^\p{Lu}]]+|[[:digit:]]|\h{2}|(?<=[a-z])(?=[A-Z])|\R|(?<!\d)\d|\bx|\Ba|^q|(?>ab|a)b")
    )
    yield "scripts", lambda: bpe(pre=sequence(pre_tokenizers.UnicodeScripts(), pre_tokenizers.Whitespace()))
    yield "delimiter", lambda: bpe(pre=sequence(pre_tokenizers.CharDelimiterSplit("-"), pre_tokenizers.FixedLength(3)))
    yield "normalizers", lambda: bpe(
        normalizer=normalizers.Sequence(
            [
                normalizers.Nmt(),
                normalizers.NFKD(),
                normalizers.Strip(left=True, right=False),
                normalizers.Replace(Regex(r"\s{2,}|l+"), "_"),
                normalizers.Replace("e", "ee"),
                normalizers.Prepend("@"),
            ]
        ),
        pre=pre_tokenizers.Digits(),
    )
    yield "bert", lambda: wordpiece(normalizers.BertNormalizer())
    yield "bert-cased", lambda: wordpiece(normalizers.BertNormalizer(lowercase=False), max_input_chars_per_word=5)
    yield "bert-accents", lambda: wordpiece(
        normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True),
        pre_tokenizers.Whitespace(),
    )
    yield "unigram", lambda: unigram()
    yield "unigram-first", lambda: unigram(
        normalizer=normalizers.NFKC(), pre=pre_tokenizers.Metaspace(prepend_scheme="first", split=False), added=ADDED
    )
    yield "unigram-scripts", lambda: unigram(pre=sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()))
    yield "word-level", lambda: trained(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer(special_tokens=["<unk>"], vocab_size=200, show_progress=False),
        pre=pre_tokenizers.Whitespace(),
    )
    if DATA:
        yield "gpt2", gpt2
        yield "charsmap", lambda: from_sentencepiece(False)
        yield "charsmap-words", lambda: from_sentencepiece(True)


def case(tokenizer, text):
    ids = tokenizer.encode(text).ids
    return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids) if ids else ""}


def real_texts(rng, count):
    text = Path(DATA, "text/wikitext2.valid.txt").read_text()
    for _ in range(count):
        start = rng.randrange(len(text) - 300)
        yield text[start : start + rng.randrange(300)]


def compare(seed, count, folder):
    special = ["<tool>", " <left>", "<right>  ", "ing", "brown", "<s>", "</s>", "<|end|>", "[MASK]"]
    for name, make in all_tokenizers():
        tokenizer = make()
        Path(folder, f"{name}.json").write_text(tokenizer.to_str())
        rng = random.Random(f"{seed} {name}")
        texts = [string(rng) for _ in range(count)]
        texts += [edge(rng) for _ in range(count // 4)]
        texts += [rng.choice(special).join(string(rng) for _ in range(3)) for _ in range(count // 10)]
        if DATA:
            texts += list(real_texts(rng, count // 10))
        for letter in ["a", " ", "😀", "1", "\n", "e\u0301"]:
            texts.append(letter * (2000 // len(letter)))
        if name in ("bytes-gpt2", "spm-bpe-prepend", "unigram", "bert"):
            texts.append("a" * 1_000_000)
        print(json.dumps({"name": name, "cases": [case(tokenizer, text) for text in texts]}), flush=True)


def goldens(path):
    found = []
    for name, make in all_tokenizers():
        if name in ("gpt2", "charsmap", "charsmap-words"):
            continue
        tokenizer = make()
        rng = random.Random(f"golden {name}")
        texts = [string(rng) for _ in range(12)]
        raw = json.loads(tokenizer.to_str())
        found.append({"name": name, "tokenizer": raw, "cases": [case(tokenizer, text) for text in texts]})
    Path(path).write_text(json.dumps(found, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "goldens":
        DATA = None
        goldens(sys.argv[2])
    else:
        compare(sys.argv[2], int(sys.argv[3]), sys.argv[4])
