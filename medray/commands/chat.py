"""`medray chat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def chat_command(
    model: Annotated[
        str,
        typer.Argument(
            help="Model of a running service, or a run or model folder, which is served during the chat."
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option(help="Address of a running service, e.g. http://127.0.0.1:8000/v1."),
    ] = None,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    temperature: Annotated[
        float, typer.Option(min=0, max=2, help="Sampling temperature; 0 is greedy.")
    ] = 0.7,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum length of an answer, in tokens.")
    ] = 512,
    load: Annotated[Path | None, typer.Option(help="Continue a saved conversation.")] = None,
) -> None:
    """Chat with a model in the terminal; type /help for the chat commands."""
    from medray.serve.client.conversation import Conversation
    from medray.serve.client.service import connect
    from medray.serve.client.terminal import TerminalChat

    conversation = Conversation.load(load) if load else Conversation(system)
    if load and system:
        conversation.system = system
    with connect(model, url, report=typer.echo) as service:
        TerminalChat(
            service, conversation, temperature=temperature, max_new_tokens=max_new_tokens
        ).run()
