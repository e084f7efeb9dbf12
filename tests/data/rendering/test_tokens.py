from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from medray.data.rendering.chat import render_chat
from medray.data.rendering.tokens import encode
from medray.data.templates.registry import apply_template
from tests.support.chats import TEXTS, byte_tokenizer, chat, decoded


def merging(*, trim_offsets: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose merges cross what templates join: line breaks, spaces, punctuation."""
    merges = [
        ("Ċ", "Ċ"),
        ("Ġ", "Ġ"),
        ("l", "l"),
        ("Ġ", "t"),
        (".", "Ċ"),
        ("ll", "o"),
        ("o", "Ċ"),
        ("1", "."),
    ]
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    vocab = {token: i for i, token in enumerate(["<s>", "</s>", *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def like_llama() -> PreTrainedTokenizerFast:
    """Words with a space mark before them, put before every text, as in LLaMA's vocabulary."""
    merges = [("▁", "a"), ("▁", "b"), ("▁a", "b"), ("▁", "["), ("c", "a"), ("▁", "▁")]
    letters = "▁abc.:;[/]INSTheloq"
    tokens = [*(f"<0x{i:02X}>" for i in range(256)), *letters, *(a + b for a, b in merges)]
    vocab = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *tokens])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def inside(tokenizer: Any, text: str, *spans: tuple[int, int]) -> tuple[str, list[str]]:
    """Decoded text of all tokens, and of each span's."""
    encoded = encode(tokenizer, text, list(spans))
    parts = [decoded(tokenizer, encoded.token_ids[encoded.span == i]) for i in range(len(spans))]
    return decoded(tokenizer, encoded.token_ids), parts


def test_a_token_per_byte() -> None:
    tokenizer = byte_tokenizer()
    encoded = encode(tokenizer, "aé</s>b", [(1, 6)])
    assert encoded.span.tolist() == [-1, 0, 0, 0, -1]  # é has two bytes
    assert encoded.token_ids.tolist()[3] == tokenizer.eos_token_id


@pytest.mark.parametrize("trim_offsets", [False, True])
def test_a_token_across_the_edge_is_cut_there(trim_offsets: bool) -> None:
    tokenizer = merging(trim_offsets=trim_offsets)
    whole = encode(tokenizer, "hello\n\nhello", [])
    assert decoded(tokenizer, whole.token_ids) == "hello\n\nhello"
    at = len("hello\n")
    text, (part,) = inside(tokenizer, "hello\n\nhello", (at, 12))
    assert (text, part) == ("hello\n\nhello", "\nhello")
    cut = encode(tokenizer, "hello\n\nhello", [(at, 12)])
    alone = [encode(tokenizer, t, []).token_ids for t in ("hello\n", "\nhello")]
    assert cut.token_ids.tolist() == np.concatenate(alone).tolist()
    assert cut.token_ids.tolist() != whole.token_ids.tolist()


@pytest.mark.parametrize("trim_offsets", [False, True])
@settings(max_examples=150, deadline=None)
@given(parts=st.lists(TEXTS, min_size=3, max_size=5))
def test_any_spans_of_a_lossless_vocabulary(parts: list[str], trim_offsets: bool) -> None:
    tokenizer = MERGING[trim_offsets]
    edges = np.cumsum([0, *(len(part) for part in parts)])
    spans = [(int(edges[i]), int(edges[i + 1])) for i in range(1, len(parts), 2)]
    text, found = inside(tokenizer, "".join(parts), *spans)
    assert text == "".join(parts)
    assert found == parts[1::2]


MERGING = {trim: merging(trim_offsets=trim) for trim in (False, True)}
LLAMA = like_llama()


@settings(max_examples=100, deadline=None)
@given(st.text("abc .:\n", min_size=1, max_size=12))
def test_a_vocabulary_with_spaces_before_words(answer: str) -> None:
    assume(not answer.startswith((" ", "\n")) and not answer.endswith(" "))
    tokenizer = LLAMA
    apply_template(tokenizer, "llama2")
    rendered = render_chat(chat("u:hello", f"a:{answer}"), tokenizer)
    (turn,) = rendered.turns
    pieces = tokenizer.convert_ids_to_tokens(rendered.token_ids[turn.start : turn.end].tolist())
    assert pieces[-1] == "</s>"
    written = "".join(bytes.fromhex(p[3:5]).decode() if p.startswith("<0x") else p for p in pieces)
    assert written == f" {answer} </s>".replace(" ", "▁")
    assert (
        rendered.token_ids.tolist() == tokenizer(rendered.text, add_special_tokens=False).input_ids
    )


def test_a_cut_that_would_change_the_text_is_not_made() -> None:
    tokenizer = LLAMA  # alone, "b" would get a space mark before it
    whole = encode(tokenizer, " abc", [])
    assert tokenizer.convert_ids_to_tokens(whole.token_ids.tolist()) == ["▁", "▁ab", "c"]
    found = encode(tokenizer, " abc", [(2, 3)])
    assert found.token_ids.tolist() == whole.token_ids.tolist()
    assert found.span.tolist() == [-1] * len(whole.token_ids)


class Slow:
    """A tokenizer without offsets."""

    is_fast = False

    def __init__(self, fast: Any) -> None:
        self.fast = fast

    def __call__(self, text: str, **options: Any) -> Any:
        assert not options.pop("return_offsets_mapping")
        return self.fast(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fast, name)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=3, max_size=3))
def test_without_offsets(parts: list[str]) -> None:
    start, end = len(parts[0]), len(parts[0]) + len(parts[1])
    text, (part,) = inside(Slow(MERGING[False]), "".join(parts), (start, end))
    assert (text, part) == ("".join(parts), parts[1])


def test_the_real_vocabulary_cuts_only_where_it_must(smollm2) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    plain = chat("u:What is fever?", "a:A raised body temperature.")
    ids = tokenizer.apply_chat_template(plain, tokenize=True, return_dict=True)["input_ids"]
    assert render_chat(plain, tokenizer).token_ids.tolist() == ids
    broken = chat("u:What is fever?", "a:\n\nA raised body temperature.")
    rendered = render_chat(broken, tokenizer)
    (turn,) = rendered.turns
    prompt = tokenizer.apply_chat_template(
        broken[:1], tokenize=True, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert rendered.token_ids[: turn.start].tolist() == prompt
    assert decoded(tokenizer, rendered.token_ids[turn.start : turn.end]).startswith("\n\nA raised")
