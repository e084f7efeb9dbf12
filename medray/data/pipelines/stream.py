"""Reading and tokenising as one stream of Ray Data: one process reads, many tokenise, tables come out in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.exceptions import RayError, RayTaskError

from medray.config.workers import TokenizerWorkers
from medray.data.pipelines.tokenising import Steps, TokeniseRows
from medray.errors import known_cause

_BLOCK_BYTES = 1 << 19


def stream_tables(
    read: Callable[[], Iterable[pa.Table]],
    make_steps: Callable[[], Steps],
    *,
    workers: TokenizerWorkers,
    memory_mb: int,
) -> Iterator[pa.Table]:
    """The tables of `TokeniseRows`, in the order of `read` for any number of workers.

    Reading runs ahead of tokenising by at most `memory_mb`. Both stages may be repeated by Ray when a process is
    lost: reading always gives the same tables, and tokenising has no state.

    Args:
        read: tables of `schema.READ`; called in a process of its own.
        make_steps: called once in every tokenising process.
        workers: tokenising processes.
        memory_mb: rows in flight.

    Raises:
        MedrayError: one that was raised in another process.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = _dataset(read, make_steps, workers)
    _set_limits(dataset.context, memory_mb)
    try:
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            if len(table):
                yield table
    except RayTaskError as error:
        raise (known_cause(error) or error) from None
    except RayError as error:
        raise (known_cause(error) or error) from error


def _dataset(
    read: Callable[[], Iterable[pa.Table]],
    make_steps: Callable[[], Steps],
    workers: TokenizerWorkers,
) -> Dataset:
    class Tokenise(TokeniseRows):  # takes no arguments: those of a restarted process could be lost
        def __init__(self) -> None:
            super().__init__(make_steps)

    rows = ray.data.read_datasource(RowsDatasource(read), override_num_blocks=1, num_cpus=0)
    return rows.map_batches(
        Tokenise,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=_number(workers)),
        num_cpus=workers.cpus,
        resources=workers.custom or None,
        runtime_env={"env_vars": {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}},
    )


def _set_limits(context: DataContext, memory_mb: int) -> None:
    options = context.execution_options
    options.preserve_order = True
    options.resource_limits = options.resource_limits.copy(object_store_memory=memory_mb << 20)
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False


def _number(workers: TokenizerWorkers) -> int:
    if workers.count != "auto":
        return workers.count
    return max(1, int(ray.cluster_resources().get("CPU", 1) / workers.cpus))


class RowsDatasource(Datasource):
    """What one function yields, read by one task."""

    def __init__(self, read: Callable[[], Iterable[pa.Table]]) -> None:
        super().__init__()
        self._read = read

    def get_name(self) -> str:
        return "Rows"

    def estimate_inmemory_data_size(self) -> int | None:
        """None: the size is unknown before the files are read."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task, whatever is asked for: the order of rows is that of one reader."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._read, unknown)]
