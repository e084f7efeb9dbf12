"""Metric sinks for the trackers people already use, each imported when its sink is made."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from medray.errors import ConfigError
from medray.observability.logging import get_logger
from medray.storage.atomic import explain_full_disk, write_text

EVENTS_FOLDER = "events"
_logger = get_logger(__name__)


class TensorBoardSink:
    """Scalars in `folder/events`, written by torch's `SummaryWriter`.

    Args:
        folder: the run folder.
        resume_step: TensorBoard drops what it already holds of later steps; None drops nothing.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, resume_step: int | None = None) -> None:
        library = _needed("torch.utils.tensorboard", "set logging.tensorboard=false")
        self._folder = Path(folder, EVENTS_FOLDER)
        purge_step = None if resume_step is None else resume_step + 1
        with explain_full_disk(self._folder):
            self._writer = library.SummaryWriter(str(self._folder), purge_step=purge_step)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one scalar per metric; NaN and infinities are written as they are."""
        with explain_full_disk(self._folder):
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    evaluation = record

    def close(self) -> None:
        """Flush and close; may be called twice."""
        self._writer.close()


class WandbSink:
    """Weights & Biases run in `folder`, continued on resume; `options` go to `wandb.init`.

    Raises:
        ConfigError: wandb is not installed.
    """

    def __init__(self, folder: str | Path, resume_step: int | None = None, **options: Any) -> None:
        wandb = _needed("wandb", "leave its sink out")
        known = _known_run(folder, "wandb", resume_step)
        self._run = wandb.init(
            dir=str(folder), **{"id": known, "resume": "allow" if known else None, **options}
        )
        write_text(Path(folder, "wandb_run.txt"), self._run.id)
        # A resumed run writes some steps a second time, which wandb's own step counter refuses.
        self._run.define_metric("*", step_metric="step")

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics, with the step as an axis of its own."""
        self._run.log({**metrics, "step": step})

    evaluation = record

    def close(self) -> None:
        """Finish the wandb run; waits for the upload."""
        self._run.finish()


class MlflowSink:
    """MLflow run, continued on resume; kept in `folder` unless MLFLOW_TRACKING_URI is set.

    Raises:
        ConfigError: mlflow is not installed.
    """

    def __init__(self, folder: str | Path, resume_step: int | None = None, **options: Any) -> None:
        self._mlflow = _needed("mlflow", "leave its sink out")
        if "MLFLOW_TRACKING_URI" not in os.environ:
            database = Path(folder, "mlflow.db").absolute()
            self._mlflow.set_tracking_uri(f"sqlite:///{database}")
        known = _known_run(folder, "mlflow", resume_step)
        run = self._mlflow.start_run(**{"run_id": known, "run_name": Path(folder).name, **options})
        self._run_id: str = run.info.run_id
        write_text(Path(folder, "mlflow_run.txt"), self._run_id)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the finite metrics (most MLflow stores refuse NaN); a failing server only warns."""
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        try:
            self._mlflow.log_metrics(finite, step=step, run_id=self._run_id)
        except self._mlflow.MlflowException as error:
            # The numbers are in metrics.jsonl; a tracking server must not end a run.
            _logger.warning("mlflow did not accept step %d: %s", step, error)

    evaluation = record

    def close(self) -> None:
        """End the MLflow run and mark it as finished."""
        self._mlflow.end_run()


TRACKERS = {"wandb": WandbSink, "mlflow": MlflowSink}


def _needed(module: str, otherwise: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"{package} is not installed: pip install {package}, or {otherwise}"
        ) from None


def _known_run(folder: str | Path, tracker: str, resume_step: int | None) -> str | None:
    """The tracker's id of the run to continue, written when the run was first opened."""
    path = Path(folder, f"{tracker}_run.txt")
    if resume_step is None or not path.is_file():
        return None
    return path.read_text(encoding="utf-8").strip()
