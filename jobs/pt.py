"""Continued pretraining on text: python jobs/pt.py --config jobs/configs/pt_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.pt import PtJob
from medray.config.resources import describe, supervised_roles


def main(job: PtJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("pt", job)


if __name__ == "__main__":
    run_job(PtJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
