"""Tokenizers built and extended: merges by hand, numbers that stay, embeddings that are means."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from medray.errors import ConfigError, MedrayError, ModelError
from medray.models.vocabulary.build import SPECIAL, build_tokenizer
from medray.models.vocabulary.extend import find_extension, save_extended
from medray.models.vocabulary.merging import continue_merges
from tests.support.chats import byte_tokenizer

ROOT = Path(__file__).parents[2]
WORDS = ["thrombosis", "thrombolysis", "embolus", "fever", "cough", "心房颤动", "糖尿病", "dose"]


def corpus(num_lines: int = 300, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 12))) + f" {rng.randrange(99)}."
        for _ in range(num_lines)
    ]


def test_merges_by_hand() -> None:
    """low x5, lower x2, newest x6, widest x3 (Sennrich et al., algorithm 1, without an end-of-word mark).

    e s 9 and s t 9 are equal: (e, s) is smaller; then es t 9; l o 7; lo w 7; (e, w), (n, e), (w, est) 6 each.
    """
    words = {tuple(w): n for w, n in (("low", 5), ("lower", 2), ("newest", 6), ("widest", 3))}
    merges, left = continue_merges(words, num_merges=5, min_count=2)
    assert [(m.pair, m.count) for m in merges] == [
        (("e", "s"), 9), (("es", "t"), 9), (("l", "o"), 7), (("lo", "w"), 7), (("e", "w"), 6),
    ]  # fmt: skip
    assert left == 5 * 1 + 2 * 3 + 6 * 3 + 3 * 4
    assert len(continue_merges(words, num_merges=5, min_count=8)[0]) == 2


def test_tokens_that_must_stay_apart() -> None:
    merges, _ = continue_merges(
        {("<0xE5>", "<0xBF>", "a", "b"): 9}, num_merges=9, min_count=2,
        is_mergeable={"<0xE5>": False, "<0xBF>": False},
    )  # fmt: skip
    assert [m.pair for m in merges] == [("a", "b")]


@given(
    words=st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=7).map(tuple),
        st.integers(1, 9),
        max_size=8,
    )
)
@settings(deadline=None)
def test_merges_are_those_of_a_plain_count(words: dict[tuple[str, ...], int]) -> None:
    merges, left = continue_merges(words, num_merges=6, min_count=2)
    lists = [(list(word), times) for word, times in words.items()]
    expected = []
    for _ in range(6):
        counts: Counter[tuple[str, str]] = Counter()
        for tokens, times in lists:
            for pair in pairwise(tokens):
                counts[pair] += times
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        expected.append((best, counts[best]))
        for tokens, _ in lists:
            i = 0
            while i + 1 < len(tokens):
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = ["".join(best)]
                i += 1
    assert [(m.pair, m.count) for m in merges] == expected
    assert left == sum(len(tokens) * times for tokens, times in lists)


def test_an_extended_tokenizer_keeps_what_it_had(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer("<|im_start|>", eos="<|im_end|>")
    tokenizer.add_tokens(["<later>"])
    extension = find_extension(tokenizer, corpus(), num_tokens=60, min_count=5)
    extended = save_extended(tokenizer, extension, tmp_path)
    assert len(extension.tokens) == 60
    old, new = tokenizer.get_vocab(), extended.get_vocab()
    assert {token: new[token] for token in old} == old
    assert [new[token] for token in extension.tokens] == list(range(len(old), len(old) + 60))
    assert extended.eos_token_id == tokenizer.eos_token_id
    assert extended.chat_template == tokenizer.chat_template
    text = "<|im_start|>user\nthrombolysis 与 心房颤动<|im_end|> <later>"
    assert extended.decode(extended(text)["input_ids"]) == tokenizer.decode(
        tokenizer(text)["input_ids"]
    )
    lines = corpus()
    assert sum(len(extended(line)["input_ids"]) for line in lines) == extension.tokens_after
    assert sum(len(tokenizer(line)["input_ids"]) for line in lines) == extension.tokens_before
    assert extension.tokens_after < 0.4 * extension.tokens_before


def test_parts_are_the_tokens_that_a_new_one_stands_for(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    extension = find_extension(tokenizer, corpus(), num_tokens=60)
    extended = save_extended(tokenizer, extension, tmp_path)
    assert len(extension.parts) == 60
    for token, parts in extension.parts.items():
        assert tokenizer.convert_ids_to_tokens(list(parts)) == list(
            extended.convert_ids_to_tokens(token)
        )


def test_a_tokenizer_without_words_is_extended_word_by_word(tmp_path: Path) -> None:
    """As LLaMA's: spaces are part of tokens, unknown characters fall back to bytes."""
    from transformers import LlamaTokenizer

    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        "▁",
        *"abcdefghilmorstuvy",
        "th",
        "▁th",
    ]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=[("t", "h"), ("▁", "th")])
    lines = ["the thrombosis of the thigh 热", "a thrombus is a clot 热"] * 10
    extension = find_extension(tokenizer, lines, num_tokens=60, min_count=5)
    assert "▁thrombosis" in extension.tokens
    assert not any("<0x" in token or "▁" in token[1:] for token in extension.tokens)
    extended = save_extended(tokenizer, extension, tmp_path)
    for line in lines[:2]:
        assert extended.decode(extended(line)["input_ids"], skip_special_tokens=True) == line


def test_other_kinds_and_small_corpora_are_refused() -> None:
    unigram = build_tokenizer("sentencepiece", corpus(), 298)
    with pytest.raises(ModelError, match="Unigram tokenizer cannot be extended"):
        find_extension(unigram, corpus(), num_tokens=5)
    with pytest.raises(ModelError, match="lower --min-count"):
        find_extension(byte_tokenizer(), ["abc"], num_tokens=5)


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_built_tokenizer_reads_everything(tmp_path: Path, kind: str) -> None:
    size = {"bpe": 300, "sentencepiece": 298}[kind]
    tokenizer = build_tokenizer(kind, corpus(), size)  # type: ignore[arg-type]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == size
    assert set(SPECIAL) <= loaded.get_vocab().keys()
    for text in (
        "thrombosis 12",
        "  two  spaces\n\nlines\t",
        "é 😷 한국어 心房颤动",
        "糖尿病 fever",
        " x",
    ):
        assert loaded.decode(loaded(text)["input_ids"]) == text
    assert len(loaded(" thrombosis")["input_ids"]) <= 5
    digits = [loaded.convert_ids_to_tokens(i).strip("Ġ▁") for i in loaded("1234")["input_ids"]]
    assert [d for d in digits if d] == ["1", "2", "3", "4"]
    chat = [{"role": "user", "content": "fever"}, {"role": "assistant", "content": "cough"}]
    rendered = loaded.apply_chat_template(chat, tokenize=False)
    assert rendered == "<|im_start|>user\nfever<|im_end|>\n<|im_start|>assistant\ncough<|im_end|>\n"
    ids = loaded(rendered)["input_ids"]
    assert ids.count(loaded.eos_token_id) == 2
    assert loaded.convert_ids_to_tokens(ids[0]) == "<|im_start|>"


def test_sentencepiece_and_its_tokenizer_agree(tmp_path: Path) -> None:
    import io

    import sentencepiece

    stream = io.BytesIO()
    lines = corpus()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=stream, vocab_size=298, model_type="unigram",
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
        byte_fallback=True, split_digits=True, user_defined_symbols=list(SPECIAL[1:]), unk_id=0,
        unk_piece=SPECIAL[0], bos_id=-1, eos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    reference = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    tokenizer = build_tokenizer("sentencepiece", lines, 298)
    for line in [*lines[:50], "unseen words é"]:
        assert tokenizer(line)["input_ids"] == reference.encode(line)


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(ModelError, match="are needed for bytes and special tokens"):
        build_tokenizer("bpe", corpus(), 200)
    with pytest.raises(ModelError, match="sentencepiece cannot build"):
        build_tokenizer("sentencepiece", [], 5000)


def test_a_small_corpus_gives_fewer_tokens() -> None:
    assert len(build_tokenizer("bpe", corpus(), 5000)) < 400
    assert len(build_tokenizer("sentencepiece", corpus(), 5000)) < 400


def rows_file(folder: Path) -> Path:
    path = folder / "notes.jsonl"
    path.write_text(
        "".join(json.dumps({"text": line}) + "\n" for line in corpus()), encoding="utf-8"
    )
    return path


def command(*arguments: str | Path, seed: str = "0") -> str:
    run = subprocess.run(
        [sys.executable, "-m", "medray.cli", "tokenizer", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("method", ["bpe", "sentencepiece"])
def test_two_processes_build_the_same_tokenizer(tmp_path: Path, method: str) -> None:
    path = rows_file(tmp_path)
    for seed in "12":
        arguments = (
            "build",
            path,
            "--out",
            tmp_path / seed,
            "--vocab-size",
            "298",
            "--method",
            method,
        )
        assert "298 tokens" in command(*arguments, seed=seed)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_model_is_extended_with_means(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from medray.config.model import ModelConfig
    from medray.models.load import load_policy

    path, out = rows_file(tmp_path), tmp_path / "extended"
    said = command("extend", path, "--model", tiny_model, "--num-tokens", "40", "--out", out)
    assert "40 new tokens from number 259 on" in said
    old, new = (AutoModelForCausalLM.from_pretrained(p) for p in (tiny_model, out))
    before, after = (m.get_input_embeddings().weight for m in (old, new))
    tokenizer = AutoTokenizer.from_pretrained(out)
    plain = AutoTokenizer.from_pretrained(tiny_model)
    assert len(tokenizer) == 299
    assert after.shape[0] == 320
    assert torch.equal(before[:259], after[:259])
    for token in (259, 270, 298):
        parts = plain.convert_tokens_to_ids(list(tokenizer.convert_ids_to_tokens(token)))
        torch.testing.assert_close(after[token], before[parts].mean(0))
    assert new.get_output_embeddings().weight is after
    policy = load_policy(ModelConfig(path=str(out)))
    assert policy.module.get_input_embeddings().weight.shape[0] == 320


def test_a_full_folder_is_not_written_over(tmp_path: Path) -> None:
    from medray.commands.tokenizer_build import build_command

    path = rows_file(tmp_path)
    with pytest.raises(ConfigError, match="exists: remove it, or choose another folder"):
        build_command(tmp_path, [str(path)])
    with pytest.raises(MedrayError, match="use bpe or sentencepiece"):
        build_command(tmp_path / "new", [str(path)], method="wordpiece")
