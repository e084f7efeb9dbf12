"""ORPO: python jobs/orpo.py --config jobs/configs/orpo_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.orpo import OrpoJob
from medray.config.resources import describe, supervised_roles


def main(job: OrpoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("orpo", job)


if __name__ == "__main__":
    run_job(OrpoJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
