"""Process reward model: python jobs/prm.py --config jobs/configs/prm_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.prm import PrmJob
from medray.config.resources import describe, supervised_roles


def main(job: PrmJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("prm", job)


if __name__ == "__main__":
    run_job(PrmJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
