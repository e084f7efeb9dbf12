"""A wrong path or argument ends every command and job with one line, before torch, Ray, vLLM and transformers load."""

from __future__ import annotations

import json
import shlex

import pytest

from medray.commands.check_config import JOBS
from tests.support.command import MEDRAY, ROOT
from tests.support.refusals import Refusal, refusals

CONFIGS = ROOT / "jobs/configs"
GRPO = str(CONFIGS / "grpo_smollm2_cpu.yaml")
SFT = str(CONFIGS / "sft_smollm2_cpu.yaml")
GENERATE = str(CONFIGS / "generate_smollm2_cpu.yaml")
NO_FILE = "config file absent.yaml does not exist"
NO_MODEL = "/absent: no such folder"
UNWRITABLE = "rows.jsonl/out cannot be written"
NO_DATA = "/absent does not exist"

CASES: list[tuple[str, str]] = [
    ("plan absent.yaml", NO_FILE),
    (f"plan {GRPO} model.path=/absent", f"model.path={NO_MODEL}"),
    (f"plan {GRPO} --machine memory=much", "--machine: memory='much' is not a number"),
    (f"plan {GENERATE}", "is not a training job"),
    ("serve", "pass what to serve"),
    ("serve --config absent.yaml", NO_FILE),
    ("serve /absent", NO_MODEL),
    ("serve empty", "the folder contains no model"),
    (
        "serve nobody/absent",
        "models.0.path=nobody/absent: no such folder, not in the cache of the hub",
    ),
    ("serve adapter", f"models.0.path=adapter: its base={NO_MODEL}"),
    ("serve model --adapter a=/absent", f"models.0.adapters.0.path={NO_MODEL}"),
    ("chat /absent", f"model={NO_MODEL}"),
    ("chat absent", "absent is not a folder, and no service"),
    ("chat model --load absent.json", "absent.json: no saved conversation"),
    ("merge /absent out", "/absent contains no adapter"),
    ("merge model out", "model contains no adapter"),
    ("merge adapter model", "out=model exists: remove it"),
    ("merge adapter rows.jsonl/out", UNWRITABLE),
    ("merge adapter out", "its base=/absent: no such folder"),
    ("merge adapter out --dtype float8", "--dtype float8: use one of float32"),
    ("quantise /absent out", f"model={NO_MODEL}"),
    ("quantise model empty", "out=empty exists"),
    ("quantise model rows.jsonl/out", UNWRITABLE),
    ("quantise model out text.path=/absent", f"text.path={NO_DATA}"),
    ("quantise model out questions.path=/absent", f"questions.path={NO_DATA}"),
    ("quantise model out method=gptq compressor=/absent", "compressor=/absent does not run"),
    ("generate /absent rows.jsonl out.jsonl", f"model={NO_MODEL}"),
    ("generate model /absent out.jsonl", f"input={NO_DATA}"),
    (
        "generate model rows.jsonl rows.jsonl/out.jsonl",
        "output=rows.jsonl/out.jsonl cannot be written",
    ),
    ("generate model rows.jsonl out.txt", "output=out.txt: the file name must end in"),
    ("fetch-model absent", "no model named 'absent'"),
    ("check-config grpo absent.yaml", NO_FILE),
    ("tune absent.yaml", NO_FILE),
    ("judge-eval absent.yaml rows.jsonl", NO_FILE),
    (f"judge-eval {GRPO} /absent", "ROWS=/absent: No such file"),
    (f"tune {GRPO} model.path=/absent", f"model.path={NO_MODEL}"),
    (f"tune {GRPO} model.path=model data.kind=auto data.path=/absent", f"data.path={NO_DATA}"),
    ("doctor --config absent.yaml", NO_FILE),
    ("doctor --only absent", "unknown check 'absent'"),
    ("doctor --constraints /absent", "--constraints /absent does not exist"),
    ("scale /absent rollouts=2", "/absent: no running job"),
    ("scale empty workers=2", "pass rollouts=N"),
    ("submit jobs/absent.py", "jobs/absent.py is not a script"),
    ("submit jobs/grpo.py --config absent.yaml", NO_FILE),
    ("tokenizer build --out out /absent", f"data.path={NO_DATA}"),
    ("tokenizer build --out model rows.jsonl", "--out=model exists: remove it"),
    ("tokenizer build --out rows.jsonl/out rows.jsonl", UNWRITABLE),
    ("tokenizer extend --out rows.jsonl/out rows.jsonl", UNWRITABLE),
    ("tokenizer extend --out out /absent --model model", f"data.path={NO_DATA}"),
    ("tokenizer extend --out out rows.jsonl --model /absent", f"--model={NO_MODEL}"),
    ("data list /absent", NO_DATA),
    ("data validate /absent", NO_DATA),
    ("data stats /absent", NO_DATA),
    ("data sample /absent", NO_DATA),
    ("data diff /absent rows.jsonl", NO_DATA),
    ("data report rows.jsonl --out rows.jsonl/out", UNWRITABLE),
    ("data report rows.jsonl --model /absent", f"--model={NO_MODEL}"),
    (
        "data sample rows.jsonl --out rows.jsonl/a.jsonl",
        "--out=rows.jsonl/a.jsonl cannot be written",
    ),
    ("data report /absent --out out.html", NO_DATA),
    ("data render /absent", NO_DATA),
    ("data render rows.jsonl --model /absent", f"--model={NO_MODEL}"),
    (
        "data convert rows.jsonl --out rows.jsonl/a.jsonl",
        "--out=rows.jsonl/a.jsonl cannot be written",
    ),
    ("data split rows.jsonl --out rows.jsonl/out --num-eval 1", UNWRITABLE),
    ("data convert /absent --out out.jsonl", NO_DATA),
    ("data split /absent --out out --num-eval 1", NO_DATA),
]
"""What follows `medray`, and a part of the one line of error."""

OF_RUNS = {
    "ppo": "rewards.0.options.model.path=model",
    "distill": "algorithm.distill.teacher.path=model",
}
"""Jobs whose examples name the runs of others, and a model in their place."""
OTHER_JOBS = ("evaluate", "generate")
"""Jobs whose model is not at `model.path`."""


def of_jobs() -> list[tuple[str, str]]:
    """The same for the scripts of jobs/: a file, a model or rows are missing, or there are no settings at all."""
    cases: list[tuple[str, str]] = []
    for job in JOBS:
        name = "prepare_data" if job == "prepare" else job.replace("-", "_")
        script = f"jobs/{name}.py"
        cases += [
            (f"{script} --config absent.yaml", NO_FILE),
            (script, "name the settings: --config"),
        ]
        if job not in OTHER_JOBS:
            begin = f"{script} --config {sorted(CONFIGS.glob(f'{job}_*_cpu.yaml'))[0]} out=run {OF_RUNS.get(job, '')}"
            cases += [
                (f"{begin} model.path=/absent", f"model.path={NO_MODEL}"),
                (f"{begin} model.path=nobody/absent", "model.path=nobody/absent: no such folder"),
                (f"{begin} out=rows.jsonl/out", f"out={UNWRITABLE}"),
                (
                    f"{begin} model.path=model data='{{kind: auto, path: /absent}}'",
                    f"data.path={NO_DATA}",
                ),
            ]
    evaluate = "jobs/evaluate.py out=run models='[{name: one, path: model}]'"
    generate = "jobs/generate.py output=out.jsonl"
    ppo, distill = (f"jobs/{job}.py --config {CONFIGS}/{job}_smollm2_cpu.yaml" for job in OF_RUNS)
    reward, teacher = "rewards.0.options.model.path", "algorithm.distill.teacher.path"
    sft = f"jobs/sft.py --config {SFT}"
    cases += [
        ("jobs/evaluate.py models='[{name: one, path: /absent}]'", f"models.0.path={NO_MODEL}"),
        (f"{evaluate} questions.kind=auto questions.path=/absent", f"questions.path={NO_DATA}"),
        (f"{evaluate} pairs.kind=auto pairs.path=/absent", f"pairs.path={NO_DATA}"),
        (f"{generate} model=/absent input=rows.jsonl", f"model={NO_MODEL}"),
        (f"{generate} model=model input=/absent", f"input={NO_DATA}"),
        (f"{ppo} {reward}=/absent", f"{reward}={NO_MODEL}"),
        (
            f"{ppo} {reward}=model roles.layout=separate critic.model.path=/absent",
            f"critic.model.path={NO_MODEL}",
        ),
        (f"{distill} {teacher}=/absent", f"{teacher}={NO_MODEL}"),
        (f"{sft} data='{{sources: [{{path: rows.jsonl}}, {{path: /absent}}]}}'", f"data.sources.1.path={NO_DATA}"),
        (f"{sft} data='{{path: rows.jsonl, eval_path: /absent}}'", f"data.eval_path={NO_DATA}"),
    ]  # fmt: skip
    return cases


ALL = [*CASES, *of_jobs()]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    """What every command line ended with, run beside a folder of a model, of an adapter and some rows."""
    home = tmp_path_factory.mktemp("home")
    for name in ("empty", "model", "adapter"):
        (home / name).mkdir()
    (home / "model/config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    adapter = {"base_model_name_or_path": "/absent", "task_type": "CAUSAL_LM"}
    (home / "adapter/adapter_config.json").write_text(json.dumps(adapter))
    (home / "rows.jsonl").write_text(
        '{"question": "How is asthma treated?", "answer": "By inhaler."}\n'
    )
    ended = refusals([shlex.split(line) for line, _ in ALL], home)
    return {line: one for (line, _), one in zip(ALL, ended, strict=True)}


@pytest.mark.parametrize(("line", "expected"), ALL, ids=lambda text: text.replace(f"{ROOT}/", ""))
def test_a_mistake_is_one_line_and_nothing_heavy_is_loaded(
    line: str, expected: str, found: dict[str, Refusal]
) -> None:
    refusal = found[line]
    said = (refusal.stdout + refusal.stderr).splitlines()

    assert refusal.code not in (0, 1), refusal
    assert len(said) == 1, refusal
    assert said[0].startswith("error: ")
    assert expected in said[0]
    assert refusal.heavy == ()
    assert refusal.created == ()


def test_every_command_is_in_the_table() -> None:
    """Those that read no path and take no argument are left out."""
    named = {" ".join(names) for names in MEDRAY if not hasattr(MEDRAY[names], "commands")}
    tried = {name for name in named if any(f"{line} ".startswith(f"{name} ") for line, _ in CASES)}
    assert named - tried == {"version", "job list", "job logs", "job stop"}


def test_every_script_of_a_job_is_in_the_table() -> None:
    tried = {line.partition(" ")[0] for line, _ in of_jobs()}
    assert tried == {f"jobs/{path.name}" for path in (ROOT / "jobs").glob("*.py")}
