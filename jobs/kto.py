"""KTO: python jobs/kto.py --config jobs/configs/kto_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.kto import KtoJob
from medray.config.resources import describe, supervised_roles


def main(job: KtoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("kto", job)


if __name__ == "__main__":
    run_job(KtoJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
