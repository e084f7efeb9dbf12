"""Supervised fine-tuning: python jobs/sft.py --config jobs/configs/sft_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.resources import describe, supervised_roles
from medray.config.sft import SftJob


def main(job: SftJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("sft", job)


if __name__ == "__main__":
    run_job(SftJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
