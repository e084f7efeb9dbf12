"""Several models on held-out rows: python jobs/evaluate.py --config FILE [key=value ...]"""

from medray.commands.job import run_job
from medray.config.evaluate import EvaluateJob
from medray.config.resources import Role, describe


def main(job: EvaluateJob) -> None:
    """Evaluate; heavy imports wait until the settings are known to be right."""
    from medray.evaluation.models import run_evaluate

    run_evaluate(job)


if __name__ == "__main__":
    run_job(
        EvaluateJob,
        main,
        lambda job: describe([Role("evaluator", job.workers.evaluator)]),
        __doc__ or "",
    )
