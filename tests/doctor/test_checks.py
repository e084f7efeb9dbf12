"""Parts of the doctor that no planted fault reaches."""

from __future__ import annotations

import sys

import pytest

from medray.doctor.finding import Severity, error, exit_code, note, ok, warning
from medray.doctor.hardware import check_cpu, check_memory
from medray.doctor.smoke import check_smoke
from medray.doctor.software import check_python


def test_the_worst_finding_is_the_exit_code() -> None:
    assert exit_code([]) == 0
    assert exit_code([ok("a", ""), note("b", "")]) == 0
    assert exit_code([ok("a", ""), warning("b", "", "", "")]) == 1
    assert exit_code([warning("b", "", "", ""), error("c", "", "", ""), ok("d", "")]) == 2


@pytest.mark.parametrize(
    ("flags", "dtype", "severity"),
    [
        ({"avx2"}, "float32", Severity.OK),
        ({"avx2"}, "bfloat16", Severity.WARNING),
        ({"avx2", "avx512f", "avx512_bf16"}, "bfloat16", Severity.OK),
        ({"sse4_2"}, "float32", Severity.ERROR),
        ({"asimd", "bf16"}, "bfloat16", Severity.OK),
    ],
)
def test_the_dtype_fits_the_processor(flags: set[str], dtype: str, severity: Severity) -> None:
    assert next(iter(check_cpu(dtype, flags=flags))).severity == severity


def test_another_python_is_an_error() -> None:
    [finding] = check_python((3, 12))
    assert finding.severity == Severity.ERROR
    assert "3.12" in finding.what


def test_little_memory_is_a_warning() -> None:
    [finding] = check_memory(available_gib=2.0)
    assert finding.severity == Severity.WARNING


def test_a_smoke_that_breaks_says_its_last_line() -> None:
    [finding] = check_smoke(
        (sys.executable, "-c", "raise SystemExit('no kernel for this processor')")
    )
    assert finding.severity == Severity.ERROR
    assert "no kernel for this processor" in finding.what


@pytest.mark.slow
def test_the_smoke_syncs_weights_into_vllm() -> None:
    [finding] = check_smoke()
    assert finding.severity == Severity.OK, finding.what
    assert "weight sync" in finding.what
