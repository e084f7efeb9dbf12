"""What the safety rules read of a request, and the request in the form that the engine is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeChatRequest,
    TokenizeCompletionRequest,
)
from ray.llm._internal.serve.core.ingress.utils import _sanitize_chat_completion_request

from medray.medical.safety.advice import without_additions
from medray.serve.protocol.bodies import (
    AnyBody,
    ChatBody,
    CompletionBody,
    engine_fields,
    without_unset,
)
from medray.serve.protocol.messages import Answer, Message
from medray.serve.protocol.tokens import DetokenizeBody, TokenizeBody

Decode = Callable[[Sequence[int]], str]
TokensRequest = TokenizeChatRequest | TokenizeCompletionRequest | DetokenizeRequest
EngineRequest = ChatCompletionRequest | CompletionRequest
"""vLLM's own classes, as ray.serve.llm's engines take them."""


def engine_request(body: AnyBody) -> EngineRequest:
    """The body for the engine, without what the safety hook once added to the conversation's earlier answers."""
    if isinstance(body, CompletionBody):
        return CompletionRequest.model_validate(engine_fields(body))
    for message in body.messages:
        if isinstance(message, Answer):
            for part in message.content or ():
                part.text = without_additions(part.text)
    # Sanitized: pydantic's lazy iterators cannot travel to another process.
    return _sanitize_chat_completion_request(
        ChatCompletionRequest.model_validate(engine_fields(body))
    )


def tokens_request(body: TokenizeBody | DetokenizeBody) -> TokensRequest:
    """The body of `/tokenize` or `/detokenize` for the engine."""
    fields = without_unset(body)
    if isinstance(body, DetokenizeBody):
        return DetokenizeRequest.model_validate(fields)
    if body.messages is None:
        return TokenizeCompletionRequest.model_validate(fields)
    return _sanitize_chat_completion_request(TokenizeChatRequest.model_validate(fields))


def adds_text(body: AnyBody) -> bool:
    """False where words of ours would break what the client parses: JSON, a grammar, an echoed prompt."""
    if isinstance(body, CompletionBody) and body.echo:
        return False
    form = body.response_format
    return body.structured_outputs is None and (form is None or form.type == "text")


def conversations(body: AnyBody, decode: Decode) -> list[list[str]]:
    """What was said to the model, for each prompt of the request by itself, turn by turn, oldest first.

    A turn is all that stands between two answers, whoever says it: users, developers, tools. System messages are the
    operator's, and count where nothing else does. `decode` gives the text of token ids.
    """
    if isinstance(body, ChatBody):
        return [_turns(body.messages)]
    texts = [each if isinstance(each, str) else decode(each) for each in body.prompt]
    return [[text] if text else [] for text in texts]


def _turns(messages: Sequence[Message]) -> list[str]:
    turns: list[list[str]] = [[]]
    system: list[str] = []
    for message in messages:
        text = "\n".join(part.text for part in message.content or () if part.text)
        if isinstance(message, Answer):
            turns.append([])
        elif text:
            (system if message.role == "system" else turns[-1]).append(text)
    return ["\n\n".join(turn) for turn in turns if turn] or system
