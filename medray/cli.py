"""The `medray` command.

Each command is one file under `medray/commands/`. None of them may import torch, ray, vllm or
transformers at module level, so that `medray --help` stays under a second.
"""

from __future__ import annotations

from medray.commands import (
    chat,
    check_config,
    data,
    doctor,
    fetch_model,
    generate,
    judge_eval,
    merge,
    plan,
    quantise,
    scale,
    serve,
    submit,
    tokenizer,
    tune,
    version,
)
from medray.commands.run_app import new_app, run_app

app = new_app("Train, align and serve medical language models on Ray.", name="medray")
app.command("fetch-model")(fetch_model.fetch_model_command)
app.command("check-config")(check_config.check_config_command)
app.add_typer(data.app, name="data")
app.command("merge")(merge.merge_command)
app.command("quantise")(quantise.quantise_command)
app.command("doctor")(doctor.doctor_command)
app.command("chat")(chat.chat_command)
app.command("generate")(generate.generate_command)
app.command("judge-eval")(judge_eval.judge_eval_command)
app.command("serve")(serve.serve_command)
app.add_typer(tokenizer.app, name="tokenizer")
app.command("plan")(plan.plan_command)
app.command("tune")(tune.tune_command)
app.command(
    "submit",
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
    },
)(submit.submit_command)
app.command("scale")(scale.scale_command)
app.add_typer(submit.job_app, name="job")
app.command("version")(version.version_command)


def main() -> None:
    """Run one command; an error medray knows is one line on stderr and an exit code of its own."""
    run_app(app)


if __name__ == "__main__":
    main()
