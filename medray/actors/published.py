"""One weight version in Ray's object store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray

from medray.actors.wait import Ref
from medray.types import Probe, TensorInfo, WeightManifest

if TYPE_CHECKING:
    import torch

NamedArray = tuple[str, npt.NDArray[Any]]
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class PublishedWeights:
    """The promise (`manifest`), the buckets that hold the tensors, and names that share another's bytes."""

    manifest: WeightManifest
    buckets: tuple[Ref, ...]  # each a dict name -> host array
    aliases: Mapping[str, str]

    @property
    def version(self) -> int:
        """Version of the weights."""
        return self.manifest.version

    @property
    def num_bytes(self) -> int:
        """Bytes an engine receives."""
        stored = (info for name, info in self.manifest.tensors.items() if name not in self.aliases)
        return sum(int(np.prod(info.shape)) * DTYPE_BYTES[info.dtype] for info in stored)


def publish(
    version: int,
    weights: Iterable[tuple[str, torch.Tensor]],
    aliases: Mapping[str, str],
    probe: Probe,
    bucket_bytes: int,
) -> PublishedWeights:
    """Put weights into the object store in buckets of about `bucket_bytes`."""
    infos: dict[str, TensorInfo] = {}
    buckets: list[Ref] = []
    bucket: dict[str, npt.NDArray[Any]] = {}
    size = 0
    for name, tensor in weights:
        infos[name] = TensorInfo(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        bucket[name] = host_array(tensor)
        size += bucket[name].nbytes
        if size >= bucket_bytes:
            buckets.append(ray.put(bucket))
            bucket, size = {}, 0
    if bucket:
        buckets.append(ray.put(bucket))
    infos |= {alias: infos[name] for alias, name in aliases.items()}
    return PublishedWeights(WeightManifest(version, infos, probe), tuple(buckets), dict(aliases))


def arrays(published: PublishedWeights, *, deadline_s: float) -> Iterator[NamedArray]:
    """Fetch the buckets one after another and yield every name, aliases included."""
    shared = {name: alias for alias, name in published.aliases.items()}
    for ref in published.buckets:
        bucket: Any = ray.get(ref, timeout=deadline_s)
        for name, array in bucket.items():
            yield name, array
            if name in shared:
                yield shared[name], array


def host_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor as engines take it: in host memory, the bits of a bfloat16 as uint16."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()
