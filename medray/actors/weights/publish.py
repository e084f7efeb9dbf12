"""One weight version in Ray's object store.

A policy that is trained whole travels whole. Of one with an adapter, what training never touches travels once: engines
that have it keep it. The adapted weights travel merged, or as factors that the engine's side adds to bases which, too,
have travelled once, so that a new version is a few megabytes to every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import ray

from medray.actors.ray_calls.wait import Ref
from medray.types import Probe, TensorInfo, WeightManifest, dtype_name

if TYPE_CHECKING:
    import torch

    from medray.models.adapters.lora_factors import LoraFactors
    from medray.models.checkpoints.export import AdapterParts

NamedArray = tuple[str, npt.NDArray[Any]]
Form = Literal["merged", "factors"]


@dataclass(frozen=True)
class PublishedWeights:
    """The promise (`manifest`), the buckets that hold the tensors, and names that share another's bytes."""

    manifest: WeightManifest
    buckets: tuple[Ref, ...]  # each a dict name -> host array: of this version
    aliases: Mapping[str, str]
    bases: tuple[
        Ref, ...
    ] = ()  # each a dict name -> host array: the same in every version, changed by
    factors: Ref | None = None  # a dict name -> factors
    kept: tuple[Ref, ...] = ()  # each a dict name -> host array: the same in every version
    kept_names: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def version(self) -> int:
        """Policy version of these weights, counted in optimizer updates."""
        return self.manifest.version


class Publisher:
    """Puts versions of one learner's weights into the object store, in buckets of about `bucket_bytes`."""

    def __init__(self, bucket_bytes: int) -> None:
        self.bucket_bytes = bucket_bytes
        self._kept: tuple[Ref, ...] | None = None
        self._bases: tuple[Ref, ...] = ()

    def whole(
        self,
        version: int,
        weights: Iterable[tuple[str, torch.Tensor]],
        aliases: Mapping[str, str],
        probe: Probe,
    ) -> PublishedWeights:
        """Publish all weights of a version.

        Args:
            version: policy version.
            weights: named tensors, consumed one at a time so that at most a bucket is copied at once.
            aliases: names that share another name's tensor, such as a tied output head.
            probe: tokens and log-probabilities that engines check themselves against after loading.
        """
        infos: dict[str, TensorInfo] = {}
        buckets = self._put(weights, infos)
        infos |= {alias: infos[name] for alias, name in aliases.items()}
        return PublishedWeights(WeightManifest(version, infos, probe), buckets, dict(aliases))

    def adapted(
        self,
        version: int,
        parts: AdapterParts,
        aliases: Mapping[str, str],
        probe: Probe,
        *,
        dtype: torch.dtype,
        form: Form,
    ) -> PublishedWeights:
        """A version of a policy with an adapter, the adapted weights in either form; engines take both for the same.

        Args:
            version: its number.
            parts: the policy's weights.
            aliases: names that share another's storage.
            probe: scored under these weights.
            dtype: what engines hold weights in.
            form: merged costs this process a pass over the adapted weights, and the network their bytes; factors
                costs every engine the same pass.
        """
        infos: dict[str, TensorInfo] = {}
        # Engines fuse neighbours (q, k, v) into one weight, and load it whole or not at all.
        moving = {_block(name) for name in (*parts.whole, *parts.factors)}
        fixed = {n: w for n, w in parts.untouched.items() if _block(n) not in moving}
        beside = {n: w for n, w in parts.untouched.items() if n not in fixed}
        if self._kept is None:
            self._kept = self._put(fixed.items())
        changing: dict[str, torch.Tensor] = {**parts.whole, **beside}
        bases: tuple[Ref, ...] = ()
        factors: Ref | None = None
        if form == "merged":
            from medray.models.adapters.lora_factors import merged

            changing |= {n: merged(w, parts.factors[n]).to(dtype) for n, w in parts.bases.items()}
            self._bases = ()
        else:
            self._bases = bases = self._bases or self._put(parts.bases.items())
            factors = ray.put({name: f.on_host() for name, f in parts.factors.items()})
        buckets = self._put(changing.items())
        for tensors in (parts.untouched, parts.whole, parts.bases):
            infos |= {n: TensorInfo(tuple(w.shape), dtype_name(dtype)) for n, w in tensors.items()}
        infos |= {alias: infos[name] for alias, name in aliases.items()}
        shared = {alias for alias, name in aliases.items() if name in fixed}
        return PublishedWeights(
            WeightManifest(version, infos, probe),
            buckets,
            dict(aliases),
            bases,
            factors,
            self._kept,
            frozenset(fixed) | shared,
        )

    def _put(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        infos: dict[str, TensorInfo] | None = None,
    ) -> tuple[Ref, ...]:
        buckets: list[Ref] = []
        bucket: dict[str, npt.NDArray[Any]] = {}
        size = 0
        for name, tensor in weights:
            if infos is not None:
                infos[name] = TensorInfo.of(tensor)
            bucket[name] = host_array(tensor)
            size += bucket[name].nbytes
            if size >= self.bucket_bytes:
                buckets.append(ray.put(bucket))
                bucket, size = {}, 0
        if bucket:
            buckets.append(ray.put(bucket))
        return tuple(buckets)


def arrays(
    published: PublishedWeights, *, deadline_s: float, has_kept: bool = False
) -> Iterator[NamedArray]:
    """Fetch the buckets one after another and yield every name, aliases included.

    Args:
        published: what to fetch.
        deadline_s: for one bucket.
        has_kept: leave out what is the same in every version.
    """
    shared = {name: alias for alias, name in published.aliases.items()}
    for name, array in _own(published, deadline_s, has_kept):
        yield name, array
        if name in shared:
            yield shared[name], array


def _own(published: PublishedWeights, deadline_s: float, has_kept: bool) -> Iterator[NamedArray]:
    for ref in (*published.buckets, *(() if has_kept else published.kept)):
        bucket: Any = ray.get(ref, timeout=deadline_s)
        yield from bucket.items()
    if published.factors is None:
        return
    import torch

    from medray.models.adapters.lora_factors import merged

    factors: dict[str, LoraFactors] = ray.get(published.factors, timeout=deadline_s)
    for ref in published.bases:
        bases: Any = ray.get(ref, timeout=deadline_s)
        for name, base in bases.items():
            dtype = getattr(torch, published.manifest.tensors[name].dtype)
            with torch.no_grad():
                yield name, host_array(merged(_tensor(base), factors[name]).to(dtype))


def host_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor as engines take it: in host memory, the bits of a bfloat16 as uint16."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """The reverse of `host_array`, without a copy: what the object store holds is only read."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def _block(name: str) -> str:
    """The module that the layer of a weight is a part of."""
    return name.rsplit(".", 2)[0] if name.count(".") > 1 else ""
