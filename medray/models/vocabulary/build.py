"""Tokenizers trained from nothing on the texts of a domain."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Literal

from medray.data.templates.registry import apply_template
from medray.errors import ModelError

Kind = Literal["bpe", "sentencepiece"]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_NUM_BYTES = 256


def build_tokenizer(kind: Kind, lines: Iterable[str], vocabulary_size: int) -> Any:
    """A transformers tokenizer with ChatML's special tokens and template; the same lines give the same tokenizer.

    Args:
        kind: bpe, byte-level byte-pair encoding with digits apart; or sentencepiece, a unigram model that falls back
            to bytes, also with digits apart.
        lines: the corpus.
        vocabulary_size: at most so many tokens, special ones and bytes included; a small corpus gives fewer.

    Raises:
        ModelError: the corpus is too small for so many tokens.
    """
    from transformers import PreTrainedTokenizerFast

    least = _NUM_BYTES + len(SPECIAL) + 1
    if vocabulary_size <= least:
        raise ModelError(
            f"--vocab-size {vocabulary_size}: {least} are needed for bytes and special tokens: raise --vocab-size"
        )
    core = (_byte_level if kind == "bpe" else _unigram)(lines, vocabulary_size)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        unk_token=SPECIAL[0],
    )
    apply_template(tokenizer, "chatml")
    return tokenizer


def _byte_level(lines: Iterable[str], vocabulary_size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )  # fmt: skip
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(lines, trainer)
    return core


def _unigram(lines: Iterable[str], vocabulary_size: int) -> Any:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    stream = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=stream,
            vocab_size=vocabulary_size,
            model_type="unigram",
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            byte_fallback=True,
            split_digits=True,
            user_defined_symbols=list(SPECIAL[1:]),
            unk_id=0,
            unk_piece=SPECIAL[0],
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # several count in no fixed order
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"sentencepiece cannot build {vocabulary_size} tokens: {reason}") from None
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(stream.getvalue())
    core = Tokenizer(
        models.Unigram([(p.piece, p.score) for p in proto.pieces], unk_id=0, byte_fallback=True)
    )
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    core.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    return core
