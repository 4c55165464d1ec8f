"""Makes the bundled model: tokenizer, training, export to GGUF, golden outputs. Needs torch, tokenizers and numpy; for GGUF also gguf.

    python models/tales/train.py tokenizer            # learn the vocabulary from the generator's text
    python models/tales/train.py train --device cuda --layers 4 6 --minutes 5
    python models/tales/train.py export --layers 6    # checkpoint -> tales-q8_0.gguf
    python models/tales/train.py golden               # tales-q8_0.gguf -> test/models/fixtures/tales.json
    python models/tales/train.py evaluate             # tells stories and counts their faults
    python models/tales/train.py sample --prompt "Tell me a story about a brave fox."

Work files (tokenizer.json, 6-layers/checkpoint-0.pt) go to --work and are not part of the repository. `evaluate` and `sample` take the
GGUF file, or with --layers a checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

import checkpoint
from checkpoint import Checkpoint
from evaluate import evaluate
from feed import PAD, WIDTHS, Block, Feed, blocks, pack, rows_of
from generate import generate
from model import Config, Tales
from muon import Muon
from text import BEGIN, END, SPECIAL, chat, documents

HERE = Path(__file__).resolve().parent
MODEL = HERE / "tales-q8_0.gguf"
FIXTURE = HERE.parent.parent / "test" / "models" / "fixtures" / "tales.json"
TOKENIZER_SEED, VALID_SEED, TRAIN_SEED = 1, 2, 1000  # workers of the training take the seeds from TRAIN_SEED on


# Tokenizer


def make_tokenizer(path: Path, vocab: int, count: int) -> None:
    """Byte-level BPE with GPT-2's splitting; all 256 bytes are in the vocabulary, so any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIAL), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    source = documents(TOKENIZER_SEED)

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


# Training


def tensors(block: Block, device: str) -> tuple[Tensor, Tensor]:
    """(inputs, targets), each [rows, width]; padding has the target -100."""
    ids = torch.from_numpy(block.astype("int64"))
    if device == "cuda":
        ids = ids.pin_memory().to(device, non_blocking=True)  # else the copy would wait for the step before
    return ids[:, :-1].where(ids[:, :-1] != PAD, 0), ids[:, 1:].where(ids[:, 1:] != PAD, -100)


def autocast(device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")


class Learner:
    """One model in training."""

    def __init__(self, config: Config, args: argparse.Namespace) -> None:
        self.device, self.config = args.device, config
        self.folder = args.work / f"{config.layers}-layers"
        torch.manual_seed(args.seed)
        self.model = (checkpoint.load(self.folder).model().train() if args.resume else Tales(config)).to(args.device)
        self.score = self.model.loss
        hidden = [p for n, p in self.model.named_parameters() if p.dim() == 2 and n.startswith("blk")]
        others = [p for n, p in self.model.named_parameters() if not (p.dim() == 2 and n.startswith("blk"))]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.97), weight_decay=0.0, fused=True), Muon(hidden, lr=args.muon_lr)
        ]
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.average: Tensor | None = None  # of the loss; stays on the device, as reading it would wait

    def compile(self) -> None:
        """Layers one by one: they share what is compiled, whatever their number."""
        for block in self.model.blk:
            block.compile(dynamic=False)
        self.score = torch.compile(self.model.loss, dynamic=False)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with autocast(self.device):
            return self.score(self.model.hidden(inputs), targets)

    def step(self, inputs: Tensor, targets: Tensor, scale: float) -> None:
        for optimizer, peak in zip(self.optimizers, self.peaks):
            for group, lr in zip(optimizer.param_groups, peak):
                group["lr"] = lr * scale
        loss = self.loss(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss = loss.detach()
        self.average = loss.clone() if self.average is None else self.average.lerp_(loss, 0.05)

    @torch.no_grad()
    def validate(self, valid: list[tuple[Tensor, Tensor]]) -> float:
        total, count = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        with torch.compiler.set_stance("force_eager"):
            for inputs, targets in valid:
                used = (targets != -100).sum()
                total, count = total + self.loss(inputs, targets) * used, count + used
        return float(total / count)

    def save(self, valid: list[tuple[Tensor, Tensor]], tokens: int, steps: int) -> None:
        loss = self.validate(valid)
        Checkpoint(self.config, self.model.state_dict(), loss, tokens, steps).save(self.folder)
        print(f"checkpoint of {self.config.layers} layers: validation loss {loss:.4f} after {tokens} tokens, {steps} steps", flush=True)


def warm_up(learners: list[Learner], tokens: int, device: str, limit: float) -> None:
    """Compiles for every shape, if that works here; else the training runs without. No new shape is begun after `limit` seconds."""
    start = time.monotonic()
    try:
        for learner in learners:
            learner.compile()
        for width in WIDTHS:
            if time.monotonic() - start > limit:
                print(f"not compiled for rows of {width}: no time", flush=True)
                torch.compiler.set_stance("eager_on_recompile")
                break
            rows = rows_of(width, tokens)
            inputs, targets = tensors(pack([[0] * (width + 1)] * rows, width), device)
            for learner in learners:
                learner.loss(inputs, targets).backward()
                learner.model.zero_grad(set_to_none=True)
            if device == "cuda":
                torch.cuda.synchronize()
            print(f"compiled for rows of {width} after {time.monotonic() - start:.1f} s", flush=True)
    except Exception as error:  # whatever the compiler may raise
        print(f"not compiled: {type(error).__name__}: {str(error)[:2000]}", flush=True)
        torch.compiler.set_stance("force_eager")
        for learner in learners:
            learner.model.zero_grad(set_to_none=True)


def train(args: argparse.Namespace) -> None:
    """Trains models of different depth side by side on the same blocks, until --minutes after the start of this function."""
    start = time.monotonic()
    deadline = start + 60 * args.minutes
    torch.set_num_threads(args.threads)
    path = args.work / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    seeds = [TRAIN_SEED * args.seed + i for i in range(args.workers)]
    feed = Feed(path, seeds, args.batch, progress=1.0 if args.resume else 0.0)
    learners = [Learner(Config(vocab=tokenizer.get_vocab_size(), layers=n), args) for n in args.layers or [Config.layers]]
    if args.compile if args.compile is not None else args.device == "cuda":
        warm_up(learners, args.batch, args.device, limit=15 * args.minutes)
    print(f"ready after {time.monotonic() - start:.1f} s", flush=True)
    valid = [tensors(b, args.device) for b in blocks(tokenizer, itertools.islice(documents(VALID_SEED), args.valid), 32768)]

    begun = said = saved = time.monotonic()
    tokens, steps = 0, 0
    while (now := time.monotonic()) < deadline:
        progress = (now - begun) / (deadline - begun)
        if not args.resume:
            feed.progress.value = progress
        # Warm-up over the first 100 steps, then a cosine over the wall clock down to 1 %.
        scale = min(1.0, (steps + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        block = feed.next()
        inputs, targets = tensors(block, args.device)
        for learner in learners:
            learner.step(inputs, targets, scale)
        steps += 1
        tokens += int((block != PAD).sum()) - len(block)
        if now - said > args.say:
            losses = ", ".join(f"{float(learner.average):.4f}" for learner in learners)
            rate = tokens / (time.monotonic() - begun)
            print(f"step {steps} loss {losses} tokens {tokens} tokens/s {rate:.0f} fresh blocks {feed.fresh} again {feed.again} "
                  f"seconds {time.monotonic() - start:.0f}", flush=True)
            said = now
        if now - saved > 60:
            for learner in learners:
                learner.save(valid, tokens, steps)
            saved = time.monotonic()
    feed.close()
    for learner in learners:
        learner.save(valid, tokens, steps)


# The other commands


def opened(args: argparse.Namespace) -> tuple[Tales, Tokenizer]:
    """A checkpoint with --layers, else the GGUF file."""
    torch.set_num_threads(args.threads)
    if args.layers:
        tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
        return checkpoint.load(args.work / f"{args.layers[0]}-layers").model().to(args.device), tokenizer
    import gguf_file

    model, tokenizer = gguf_file.read(args.out)
    return model.to(args.device), tokenizer


def export(args: argparse.Namespace) -> None:
    import gguf_file

    layers = (args.layers or [Config.layers])[0]
    gguf_file.write(checkpoint.load(args.work / f"{layers}-layers"), args.work / "tokenizer.json", args.out)


def sample(args: argparse.Namespace) -> None:
    model, tokenizer = opened(args)
    ids = tokenizer.encode(BEGIN + args.prompt if args.raw else chat(args.prompt)).ids
    for seed in range(args.seed, args.seed + args.count):
        told = generate(model, [ids], tokenizer.token_to_id(END), args.temperature, args.top_p, seed)[0]
        print(f"[seed {seed}] {args.prompt}\n\n{tokenizer.decode(told.ids)}\n{'-' * 60}", flush=True)


def judge(args: argparse.Namespace) -> None:
    model, tokenizer = opened(args)
    evaluate(model, tokenizer, VALID_SEED, args.count, args.temperature, args.top_p, args.samples)


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
    import gguf_file

    model, tokenizer = gguf_file.read(args.out)
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
    commands = {"train": train, "export": export, "golden": golden, "sample": sample, "evaluate": judge}
    parser.add_argument("command", choices=("tokenizer", *commands))
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of work files")
    parser.add_argument("--out", type=Path, default=MODEL, help="the GGUF file")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, nargs="+", help="train: depths, side by side; else: the checkpoint to take")
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--documents", type=int, default=20000, help="tokenizer: documents to learn from")
    parser.add_argument("--minutes", type=float, default=60, help="train: wall clock")
    parser.add_argument("--batch", type=int, default=2048, help="train: ids a step, about")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="train: processes that tell stories")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="train: torch.compile; on cuda the default")
    parser.add_argument("--valid", type=int, default=600, help="train: documents of validation")
    parser.add_argument("--say", type=float, default=5, help="train: seconds between lines of the log")
    parser.add_argument("--lr", type=float, default=2e-3, help="train: peak rate of AdamW (embeddings and norms)")
    parser.add_argument("--muon-lr", type=float, default=0.02, help="train: peak rate of Muon (the other matrices)")
    parser.add_argument("--resume", action="store_true", help="train: go on from the checkpoints, without exercises")
    parser.add_argument("--prompt", default="Tell me a story about a brave fox.")
    parser.add_argument("--raw", action="store_true", help="sample: continue the prompt as plain text")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--count", type=int, default=1, help="sample, evaluate: stories")
    parser.add_argument("--samples", type=int, default=12, help="evaluate: stories to print")
    args = parser.parse_args()
    if args.command == "tokenizer":
        make_tokenizer(args.work / "tokenizer.json", args.vocab, args.documents)
    else:
        commands[args.command](args)


if __name__ == "__main__":
    main()
