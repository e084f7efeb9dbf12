"""`medray tokenizer`: tokenizers for a domain."""

from __future__ import annotations

from medray.commands import tokenizer_build, tokenizer_extend
from medray.commands.run_app import new_app

app = new_app("Build a tokenizer, or extend a model's own with tokens of a domain.")
app.command("build")(tokenizer_build.build_command)
app.command("extend")(tokenizer_extend.extend_command)
