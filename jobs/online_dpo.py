"""Online DPO: python jobs/online_dpo.py --config jobs/configs/online-dpo_smollm2_cpu.yaml [key=value ...]"""

from medray.commands.job import run_job
from medray.config.online_dpo import OnlineDpoJob
from medray.config.resources import describe, rl_roles


def main(job: OnlineDpoJob) -> None:
    """Train; heavy imports wait until the settings are known to be right."""
    from medray.runs.launch import run_rl
    from medray.training.online_dpo import train_online_dpo

    run_rl(job, train_online_dpo)


if __name__ == "__main__":
    run_job(OnlineDpoJob, main, lambda job: describe(rl_roles(job)), __doc__ or "")
