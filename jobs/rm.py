"""Reward model: python jobs/rm.py --config jobs/configs/rm_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.resources import describe, supervised_roles
from medray.config.rm import RmJob


def main(job: RmJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("rm", job)


if __name__ == "__main__":
    run_job(RmJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
