"""A copy of a run folder on storage that outlives the machines, through fsspec (S3, GCS, NFS, a plain folder).

Every file is copied by whoever wrote it, once it is whole; of a checkpoint its state file comes last, and only folders
that have it count. So a run whose machines are gone continues from the copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from medray.errors import CheckpointError, ConfigError, ResourceError
from medray.storage.atomic import replace_dir, temporary_beside

MARKER = "trainer_state.json"  # the last file of a whole checkpoint
RUN_FILES = (
    "config.json",
    "provenance.json",
    "metrics.jsonl",
    "incidents.jsonl",
    "startup.json",
    "memory.json",
    "report.html",
)


class Mirror:
    """The copy at `url` of the run folder `out`.

    Raises:
        ConfigError: no package for this kind of URL is installed.
    """

    def __init__(self, url: str, out: str | Path) -> None:
        import fsspec

        self.url = url
        self.out = Path(out)
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            package = {"s3": "pip install medray[s3]", "gs": "pip install gcsfs"}.get(
                url.partition(":")[0], ""
            )
            raise ConfigError(
                f"mirror={url}: {error}" + (f": {package}" if package else "")
            ) from None
        self._root = PurePosixPath(root)

    def push(self, path: Path) -> None:
        """Copy one file of the run folder."""
        with self._explained(f"copy {path}"):
            self._put(path, str(path.relative_to(self.out)))

    def push_run_files(self) -> None:
        """Copy settings, metrics and incidents, as they are now."""
        for name in RUN_FILES:
            if (self.out / name).is_file():
                self.push(self.out / name)

    def push_checkpoint(self, folder: Path, *, keep_last: int) -> None:
        """Copy a whole checkpoint, and remove older copies beyond `keep_last`."""
        files = sorted(
            (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == MARKER
        )
        with self._explained(f"copy {folder}"):
            for path in files:
                self._put(path, str(path.relative_to(self.out)))
            for old in self.checkpoints()[:-keep_last]:
                self._files.rm(str(self._root / "checkpoints" / old), recursive=True)

    def checkpoints(self) -> list[str]:
        """Names of whole checkpoints in the copy, oldest first."""
        self._files.invalidate_cache()  # fsspec remembers listings, and another machine may have written since
        place = str(self._root / "checkpoints")
        if not self._files.exists(place):
            return []
        names = [PurePosixPath(entry).name for entry in self._files.ls(place, detail=False)]
        return sorted(n for n in names if self._files.exists(f"{place}/{n}/{MARKER}"))

    def fetch_checkpoint(self, name: str) -> Path:
        """Bring a checkpoint into the run folder, whole or not at all; one that is there stays.

        Raises:
            CheckpointError: the copy has no such checkpoint.
        """
        final = self.out / "checkpoints" / name
        if (final / MARKER).is_file():
            return final
        if name not in self.checkpoints():
            raise CheckpointError(f"{self.url} has no complete checkpoint {name}")
        partial = temporary_beside(final)  # ranks of one node may fetch it at the same time
        final.parent.mkdir(parents=True, exist_ok=True)
        with self._explained(f"fetch {name}"):
            self._files.get(f"{self._root / 'checkpoints' / name}/", f"{partial}/", recursive=True)
        if (final / MARKER).is_file():
            shutil.rmtree(partial)
        else:
            replace_dir(partial, final)
        return final

    def fetch_run(self) -> str | None:
        """Bring settings, metrics and the newest checkpoint here, where the copy is ahead; its name, or None."""
        there = self.checkpoints()
        here = sorted(p.parent.name for p in (self.out / "checkpoints").glob(f"step_*/{MARKER}"))
        if not there or (here and here[-1] >= there[-1]):
            return None
        self.out.mkdir(parents=True, exist_ok=True)
        with self._explained("fetch the run's files"):
            for name in RUN_FILES:
                if self._files.exists(str(self._root / name)):
                    self._files.get_file(str(self._root / name), str(self.out / name))
        self.fetch_checkpoint(there[-1])
        return there[-1]

    def _put(self, path: Path, name: str) -> None:
        target = self._root / name
        self._files.makedirs(str(target.parent), exist_ok=True)
        # Storage without atomic uploads shows half a file under its own name; a rename there is not dearer.
        if "file" in _protocols(self._files):
            self._files.put_file(str(path), f"{target}.partial")
            self._files.mv(f"{target}.partial", str(target))
        else:
            self._files.put_file(str(path), str(target))

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ResourceError(f"mirror={self.url}: cannot {doing}: {reason}") from error


def mirror_of(job: Any, part: str = "") -> Mirror | None:
    """The mirror that a job's settings ask for, of the run folder or of the folder `part` inside."""
    url: str | None = getattr(job, "mirror", None)
    if not url:
        return None
    return (
        Mirror(f"{url.rstrip('/')}/{part}", Path(job.out, part)) if part else Mirror(url, job.out)
    )


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
