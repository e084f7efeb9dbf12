"""Batch inference: python jobs/generate.py --config jobs/configs/generate_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.generate import GenerateJob
from medray.config.resources import Role, describe


def main(job: GenerateJob) -> None:
    """Answer every row; heavy imports wait until the settings are known to be right."""
    from medray.runs.generate import run_generate

    run_generate(job)


if __name__ == "__main__":
    run_job(
        GenerateJob,
        main,
        lambda job: describe([Role("engine", job.workers.engine)]),
        __doc__ or "",
    )
