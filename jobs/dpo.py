"""DPO and its family: python jobs/dpo.py --config jobs/configs/dpo_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.dpo import DpoJob
from medray.config.resources import describe, supervised_roles


def main(job: DpoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch_supervised import run_supervised

    run_supervised("dpo", job)


if __name__ == "__main__":
    run_job(DpoJob, main, lambda job: describe(supervised_roles(job)), __doc__ or "")
