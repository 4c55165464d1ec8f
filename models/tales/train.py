"""Makes the bundled model: tokenizer, training, export to GGUF, golden outputs. Needs torch, tokenizers, gguf and numpy.

    python models/tales/train.py tokenizer            # learn the vocabulary from the generator's text
    python models/tales/train.py train --minutes 60   # train; a checkpoint every three minutes
    python models/tales/train.py export               # checkpoint -> tales-q8_0.gguf
    python models/tales/train.py golden               # tales-q8_0.gguf -> test/models/fixtures/tales.json
    python models/tales/train.py sample --prompt "Tell me a story about a brave fox."

Work files (tokenizer.json, checkpoint.pt, log) go to --work and are not part of the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from drills import drill
from model import Config, Tales
from text import BEGIN, END, TELL, USER, documents

HERE = Path(__file__).resolve().parent
MODEL = HERE / "tales-q8_0.gguf"
FIXTURE = HERE.parent.parent / "test" / "models" / "fixtures" / "tales.json"
SPECIAL = (BEGIN, END, USER, TELL)
TRAIN_SEED, VALID_SEED = 1, 2  # the text of the tokenizer, and of validation
# System messages are left out: the model is too small to follow them, and stories stay good without.
CHAT_TEMPLATE = (
    "{{- bos_token -}}{%- for message in messages -%}{%- if message['role'] == 'user' -%}<|user|>{{- message['content'] | trim -}}"
    "{%- elif message['role'] == 'assistant' -%}<|story|>{{- message['content'] | trim -}}<|end|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|story|>{%- endif -%}"
)


# Tokenizer


def make_tokenizer(path: Path, vocab: int, count: int) -> None:
    """Byte-level BPE with GPT-2's splitting; all 256 bytes are in the vocabulary, so any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIAL), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    source = documents(TRAIN_SEED)

    def texts() -> Iterator[str]:
        for _ in range(count):
            text = next(source)
            for special in SPECIAL:
                text = text.replace(special, "\n")
            yield text

    tokenizer.train_from_iterator(texts(), trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    print(f"{path}: {tokenizer.get_vocab_size()} tokens")


# Data


def lesson(seed: int, drills: Callable[[], float]) -> Iterator[str]:
    """Endless documents, with a share of exercises that `drills` gives at the time."""
    source = documents(seed)
    rng = random.Random(f"lesson {seed}")
    while True:
        yield drill(rng) if rng.random() < drills() else next(source)


def batches(tokenizer: Tokenizer, source: Iterator[str], tokens: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (inputs, targets), each [rows, time] with about `tokens` ids. A row is one document from its beginning; documents of a
    pool are grouped by length, so that hardly anything is padding (target -100), and the groups come in random order."""
    shuffle = random.Random(0)
    while True:
        pool = sorted((tokenizer.encode(next(source)).ids[: length + 1] for _ in range(128)), key=len)
        groups: list[list[list[int]]] = [[]]
        for ids in pool:
            if len(ids) * (len(groups[-1]) + 1) > tokens:
                groups.append([])
            groups[-1].append(ids)
        shuffle.shuffle(groups)
        for group in groups:
            longest = max(len(ids) for ids in group)
            block = torch.tensor([ids + [-100] * (longest - len(ids)) for ids in group])
            yield block[:, :-1].clamp(min=0), block[:, 1:]


def loss_of(model: Tales, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


# Optimizer


def orthogonalize(g: Tensor, steps: int = 4) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly, by the Newton-Schulz iteration of the Muon optimizer."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates for hidden matrices (Jordan et al., 2024)."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "m" not in state:
                    state["m"] = torch.zeros_like(p)
                m = state["m"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalize(p.grad.lerp(m, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    config = Config(vocab=tokenizer.get_vocab_size())
    model = Tales(config)
    if args.init is not None:
        model.load_state_dict(torch.load(args.init, weights_only=True)["weights"])
    hidden = [p for n, p in model.named_parameters() if p.dim() == 2 and n.startswith("blk")] if args.muon else []
    inside = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in inside]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.97), weight_decay=0.0)
    ]
    if hidden:
        optimizers.append(Muon(hidden, lr=args.muon_lr))
    peaks = [[g["lr"] for g in o.param_groups] for o in optimizers]

    valid = list(itertools.islice(batches(tokenizer, documents(VALID_SEED), 4096, config.context), 6))
    progress = 0.0
    # Nothing but exercises at first, until names are repeated; they are gone when half of the time is over.
    lessons = lesson(args.seed, lambda: 0.0 if args.init else 1.0 if progress < 0.1 else 0.5 * max(0.0, 1 - progress / 0.5))
    source = batches(tokenizer, lessons, args.batch, config.context)
    start = saved = time.monotonic()
    seen, step, average = 0, 0, 0.0
    while (progress := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        # Warm-up over the first 40 steps, then a cosine over the wall clock down to 2 %.
        scale = min(1.0, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for optimizer, peak in zip(optimizers, peaks):
            for group, lr in zip(optimizer.param_groups, peak):
                group["lr"] = lr * scale
        inputs, targets = next(source)
        loss = loss_of(model, inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += int((targets != -100).sum())
        average = loss.item() if step == 1 else 0.95 * average + 0.05 * loss.item()
        if step % 25 == 0:
            seconds = time.monotonic() - start
            print(f"step {step} loss {average:.4f} tokens {seen} tokens/s {seen / seconds:.0f} minutes {seconds / 60:.1f}", flush=True)
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            save(args.work, model, evaluate(model, valid), seen, step)
    save(args.work, model, evaluate(model, valid), seen, step)


def evaluate(model: Tales, valid: list[tuple[Tensor, Tensor]]) -> float:
    with torch.no_grad():
        return sum(loss_of(model, *b).item() for b in valid) / len(valid)


def save(work: Path, model: Tales, loss: float, seen: int, step: int) -> None:
    temporary = work / "checkpoint.tmp"
    torch.save({"config": asdict(model.config), "weights": model.state_dict(), "loss": loss, "tokens": seen, "steps": step}, temporary)
    temporary.replace(work / "checkpoint.pt")
    print(f"checkpoint: validation loss {loss:.4f} after {seen} tokens, {step} steps", flush=True)


# GGUF


def export(args: argparse.Namespace) -> None:
    """Matrices as Q8_0, norms as F32; tied embeddings, so there is no output.weight. Rotary pairs are already GGUF's."""
    checkpoint = torch.load(args.work / "checkpoint.pt", weights_only=True)
    config = Config(**checkpoint["config"])
    vocabulary = json.loads((args.work / "tokenizer.json").read_text())["model"]
    tokens = [token for token, _ in sorted(vocabulary["vocab"].items(), key=lambda item: item[1])]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in vocabulary["merges"]]
    temporary = args.out.with_suffix(".tmp")
    w = gguf.GGUFWriter(temporary, "llama")
    w.add_name("Tales")
    w.add_description("A few million parameters that tell short stories in simple English")
    w.add_license("apache-2.0")
    w.add_size_label(f"{sum(t.numel() for t in checkpoint['weights'].values()) / 1e6:.1f}M")
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
    for name, tensor in checkpoint["weights"].items():
        data = tensor.float().numpy()
        if data.ndim == 2:
            w.add_tensor(name, gguf.quantize(data, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            w.add_tensor(name, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    temporary.replace(args.out)
    print(f"{args.out}: {args.out.stat().st_size} bytes; validation loss {checkpoint['loss']:.4f}, {checkpoint['tokens']} tokens")


def load(path: Path) -> tuple[Tales, Tokenizer]:
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


def chat(prompt: str) -> str:
    return f"{BEGIN}{USER}{prompt}{TELL}"


@torch.no_grad()
def generate(model: Tales, ids: list[int], count: int, end: int, temperature: float, top_p: float, generator: torch.Generator) -> list[int]:
    out: list[int] = []
    while len(out) < count and len(ids) + len(out) < model.config.context:
        logits = model(torch.tensor([ids + out]))[0, -1]
        if temperature == 0:
            token = int(logits.argmax())
        else:
            p, order = torch.softmax(logits / temperature, -1).sort(descending=True)
            p[(p.cumsum(0) - p) > top_p] = 0
            token = int(order[torch.multinomial(p, 1, generator=generator)])
        if token == end:
            break
        out.append(token)
    return out


def sample(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    model, tokenizer = load(args.out)
    text = BEGIN + args.prompt if args.raw else chat(args.prompt)
    for seed in range(args.seed, args.seed + args.count):
        ids = generate(model, tokenizer.encode(text).ids, 500, tokenizer.token_to_id(END), args.temperature, args.top_p, torch.Generator().manual_seed(seed))
        print(f"[seed {seed}] {args.prompt}\n\n{tokenizer.decode(ids)}\n{'-' * 60}", flush=True)


PROMPTS: tuple[tuple[str, str], ...] = (
    ("raw", "Once upon a time"),
    ("chat", "Tell me a story about a brave fox."),
    ("chat", "Write a story about a lost kite and a kind baker."),
)
TOKENIZER_TEXTS = (
    "Once upon a time there was a little fox.", "\"Why?\" asked Pip. \"I don't know,\" she said.\n\nThen it rained.", "  two  spaces\tand a tab\n",
    "Zürich, naïve café; 東京 🦊 e\u0301", "1234567890 3.14 x+y=z", "<|end|> in text", "",
)


@torch.no_grad()
def golden(args: argparse.Namespace) -> None:
    """What the file must give, computed in f32 from its dequantized weights: logits at some positions and greedy continuations."""
    torch.set_num_threads(args.threads)
    model, tokenizer = load(args.out)
    end = tokenizer.token_to_id(END)
    cases = []
    for kind, prompt in PROMPTS:
        text = BEGIN + prompt if kind == "raw" else chat(prompt)
        ids = tokenizer.encode(text).ids
        greedy: list[int] = []
        margins: list[float] = []
        for _ in range(64):
            top = model(torch.tensor([ids + greedy]))[0, -1].topk(2)
            greedy.append(int(top.indices[0]))
            margins.append(round(float(top.values[0] - top.values[1]), 6))
            if greedy[-1] == end:
                break
        logits = model(torch.tensor([ids + greedy]))[0]
        last = len(ids) + len(greedy) - 2  # the position that gives the last greedy id
        positions = sorted({0, len(ids) // 2, len(ids) - 1, min(len(ids) + 15, last), last})
        cases.append({
            "kind": kind, "prompt": prompt, "rendered": text, "ids": ids,
            "logits": [
                {"position": p, "max_abs": float(logits[p].abs().max()),
                 "top": [[int(i), float(v)] for v, i in zip(*(t.tolist() for t in logits[p].topk(10)))]}
                for p in positions
            ],
            "greedy": greedy, "margins": margins, "text": tokenizer.decode(greedy),
        })
    plain = Tokenizer.from_str(tokenizer.to_str())
    fixture = {
        "comment": "made by models/tales/train.py golden: dequantized weights, f32; positions count the prompt and the greedy ids",
        "sha256": hashlib.sha256(args.out.read_bytes()).hexdigest(),
        "tokenizer": [{"text": t, "ids": plain_ids(plain, t)} for t in TOKENIZER_TEXTS],
        "cases": cases,
    }
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(json.dumps(fixture, indent=1, ensure_ascii=False) + "\n")
    for case in cases:
        print(f"{case['prompt']}: smallest margin {min(case['margins'])}\n  {case['text']}")


def plain_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text in which special tokens are only text: the splitter and the merges, without the special tokens' own matching."""
    ids: list[int] = []
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(text) if text else []
    for piece, _ in pieces:
        ids += [tokenizer.token_to_id(t.value) for t in tokenizer.model.tokenize(piece)]
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("tokenizer", "train", "export", "golden", "sample"))
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of work files")
    parser.add_argument("--out", type=Path, default=MODEL, help="the GGUF file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--documents", type=int, default=20000, help="tokenizer: documents to learn from")
    parser.add_argument("--minutes", type=float, default=60, help="train: wall clock")
    parser.add_argument("--batch", type=int, default=1024, help="train: ids a step, about")
    parser.add_argument("--lr", type=float, default=3e-3, help="train: peak rate of AdamW (embeddings and norms)")
    parser.add_argument("--init", type=Path, help="train: go on from this checkpoint, without exercises")
    parser.add_argument("--muon", action=argparse.BooleanOptionalAction, default=True, help="train: Muon for hidden matrices")
    parser.add_argument("--muon-lr", type=float, default=0.015)
    parser.add_argument("--prompt", default="Tell me a story about a brave fox.")
    parser.add_argument("--raw", action="store_true", help="sample: continue the prompt as plain text")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--count", type=int, default=1, help="sample: stories, one a seed")
    args = parser.parse_args()
    if args.command == "tokenizer":
        make_tokenizer(args.work / "tokenizer.json", args.vocab, args.documents)
    else:
        {"train": train, "export": export, "golden": golden, "sample": sample}[args.command](args)


if __name__ == "__main__":
    main()
