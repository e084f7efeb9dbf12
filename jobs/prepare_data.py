"""Data preparation: python jobs/prepare_data.py --config jobs/configs/prepare_sft_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.prepare import PrepareJob


def main(job: PrepareJob) -> None:
    """Prepare; heavy imports wait until the settings are known to be right."""
    from medray.runs.prepare import run_prepare

    run_prepare(job)


def describe(job: PrepareJob) -> str:
    """What the job reserves."""
    tokenizer = job.workers.tokenizer
    return (
        f"resources:\n  tokenizer {tokenizer.count} x {tokenizer.cpus:g} CPU, reading 1 process, "
        f"{job.memory_mb} MB of rows in flight"
    )


if __name__ == "__main__":
    run_job(PrepareJob, main, describe, __doc__ or "")
