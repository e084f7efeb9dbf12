"""Every error medray raises on purpose.

Each class is also a standard-library type, carries one line of text that names the key, file, row or
worker and the remedy, and survives pickling (errors cross Ray).
"""


class MedrayError(Exception):
    """Root of all errors raised by medray. `exit_code` is what a job or command ends with."""

    exit_code = 1


class ConfigError(MedrayError, ValueError):
    """A configuration key is unknown, out of range or contradicts another key."""

    exit_code = 2


class DataError(MedrayError, ValueError):
    """A dataset is empty, or a row of it cannot be used."""

    exit_code = 2


class ModelError(MedrayError, ValueError):
    """A model is missing, damaged, or of a kind that the job cannot use."""

    exit_code = 2


class ResourceError(MedrayError, RuntimeError):
    """The machine or cluster lacks what the job asks for (GPU, CPU, memory, disk)."""

    exit_code = 3


class CheckpointError(MedrayError, RuntimeError):
    """A checkpoint is damaged or belongs to another configuration."""

    exit_code = 3


class NumericsError(MedrayError, ArithmeticError):
    """A value that must be finite is not."""

    exit_code = 4


class DivergedError(NumericsError):
    """Training produced a non-finite loss or gradient."""


class DeadlineExceeded(MedrayError, TimeoutError):
    """A wait across actors ran out of time; the text names who is late, and so does `late`."""

    exit_code = 5

    def __init__(self, text: str, late: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.late = late


class WorkerLost(MedrayError, RuntimeError):
    """An actor died and could not be replaced."""

    exit_code = 5


class RestartBudgetExhausted(WorkerLost):
    """As many actors died as may be replaced: of one type (`workers.max_restarts`), or with one group in flight."""


class ClusterError(MedrayError, ConnectionError):
    """A Ray cluster cannot be reached, refuses the token, or has no such job."""

    exit_code = 5


class GraderError(MedrayError, RuntimeError):
    """A grader failed to grade. Never turned into a reward."""

    exit_code = 5


class EnvironmentFailed(MedrayError, RuntimeError):
    """An environment did not answer a turn with usable text. Costs one group, never the worker."""

    exit_code = 5


class WeightSyncError(MedrayError, RuntimeError):
    """A weight sync did not end with the engine holding the learner's weights."""

    exit_code = 6


class MissingTensorError(WeightSyncError):
    """The tensors delivered to an engine are not exactly those it was promised."""


class StaleCacheError(WeightSyncError):
    """The engine still answers from a prefix cache filled under older weights."""


class LogprobMismatchError(WeightSyncError):
    """Engine and learner disagree on the log-probability of the probe tokens."""


def known_cause(error: BaseException) -> MedrayError | None:
    """The first error of ours among an error and its causes, without Ray's wrapping; None where there is none."""
    seen: BaseException | None = error
    while seen is not None:
        wrapped = getattr(
            seen, "cause", None
        )  # Ray's wrapper of an error is an instance of its class, too
        if isinstance(seen, MedrayError) and wrapped is None:
            return seen
        seen = wrapped or seen.__cause__
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class where it has no text: for messages of one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
