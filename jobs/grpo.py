"""GRPO: python jobs/grpo.py --config jobs/configs/grpo_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.grpo import GrpoJob
from medray.config.resources import describe, rl_roles


def main(job: GrpoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch import run_rl
    from medray.training.grpo import train_grpo

    run_rl(job, train_grpo)


if __name__ == "__main__":
    run_job(GrpoJob, main, lambda job: describe(rl_roles(job)), __doc__ or "")
