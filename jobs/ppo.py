"""PPO: python jobs/ppo.py --config jobs/configs/ppo_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.ppo import PpoJob
from medray.config.resources import describe, rl_roles


def main(job: PpoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch import run_rl
    from medray.training.ppo import train_ppo

    run_rl(job, train_ppo)


if __name__ == "__main__":
    run_job(PpoJob, main, lambda job: describe(rl_roles(job)), __doc__ or "")
