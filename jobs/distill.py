"""On-policy distillation: python jobs/distill.py --config jobs/configs/distill_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.distill import DistillJob
from medray.config.resources import describe, rl_roles


def main(job: DistillJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch import run_rl
    from medray.training.grpo import train_grpo

    run_rl(job, train_grpo)


if __name__ == "__main__":
    run_job(DistillJob, main, lambda job: describe(rl_roles(job)), __doc__ or "")
