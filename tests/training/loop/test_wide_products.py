"""Products of bfloat16 numbers computed as float32: the same numbers, and the same gradients."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from plumbline.training.loop import precision, wide_products
from plumbline.training.loop.precision import choose_precision
from plumbline.training.loop.wide_products import WideProducts
from tests.helpers.training_fixtures import flags, metric_rows, run_python, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = torch.device("cpu")

CASES: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "linear": (functional.linear, [(40, 16), (8, 16), (8,)]),
    "linear without bias": (functional.linear, [(40, 16), (8, 16)]),
    "linear of one row": (functional.linear, [(16,), (8, 16), (8,)]),
    "linear of several": (lambda x, w, b: functional.linear(x, w, bias=b), [(5, 4, 16), (8, 16), (8,)]),
    "linear in another order": (
        lambda x, w, b: functional.linear(bias=b, weight=w, input=x),
        [(40, 16), (8, 16), (8,)],
    ),
    "@": (lambda a, b: a @ b, [(40, 16), (16, 8)]),
    "@ of vectors": (lambda a, b: a @ b, [(16,), (16, 8)]),
    "@ of batches": (lambda a, b: a @ b.mT, [(3, 5, 16), (3, 8, 16)]),
    "@ of a shared matrix": (lambda a, b: a @ b, [(3, 1, 5, 16), (2, 16, 8)]),
    "matmul": (torch.matmul, [(7, 16), (16, 8)]),
    "bmm": (torch.bmm, [(3, 5, 16), (3, 16, 8)]),
    "then something else": (lambda x, w: torch.relu(functional.linear(x, w)).sum(0), [(40, 16), (8, 16)]),
}


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients_are_those_of_bfloat16(case: str, mixed: bool) -> None:
    function, shapes = CASES[case]
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    dtype = torch.float32 if mixed else torch.bfloat16

    def run(*, wide: bool) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_() for x in given]
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            if wide:
                with WideProducts(mixed=mixed):
                    result = function(*leaves)
            else:
                result = function(*leaves)
        (result.float() * torch.arange(result.numel()).view(result.shape).cos()).sum().backward()
        return [result, *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    plain, wide = run(wide=False), run(wide=True)
    assert len(plain) == len(shapes) + 1
    for one, other in zip(plain, wide, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        torch.testing.assert_close(other, one, rtol=2**-7, atol=2**-7 * float(one.abs().max().detach()))


def test_other_types_are_left_alone() -> None:
    a, b = torch.randn(5, 5), torch.randn(5, 5)
    with WideProducts(mixed=False):
        assert torch.equal(a @ b, torch.mm(a, b))
    with WideProducts(mixed=True):
        assert (a.double() @ b.double()).dtype == torch.float64
        assert (a @ b).dtype == torch.bfloat16


FAST = {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("one_dnn", "has", "limits", "expected"),
    [
        (False, {"avx2": True}, {}, "none"),
        (True, {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, {}, "emulated"),
        (True, FAST, {}, "fast"),
        (True, {"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, {}, "fast"),
        (True, {"architecture": "aarch64"}, {}, "fast"),
        (True, FAST, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "emulated"),
        (True, FAST, {"ONEDNN_MAX_CPU_ISA": "", "DNNL_MAX_CPU_ISA": "avx512_core_vnni"}, "emulated"),
        (True, FAST, {"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX512_CORE"}, "fast"),
        (True, FAST, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "fast"),
    ],
)
def test_what_a_cpu_can_do(
    monkeypatch: pytest.MonkeyPatch, one_dnn: bool, has: dict, limits: dict, expected: str
) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, limit in limits.items():
        monkeypatch.setenv(name, limit)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: one_dnn)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert precision.cpu_bfloat16() == expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # as in builds for macOS
    assert precision.cpu_bfloat16() == "none"


@pytest.mark.parametrize(("units", "wide"), [("none", True), ("emulated", False), ("fast", False)])
@pytest.mark.parametrize("asked", ["16", "bf16", "16-mixed", "bf16-mixed"])
def test_a_cpu_that_gains_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, asked: str, units: str, wide: bool
) -> None:
    monkeypatch.setattr(precision, "cpu_bfloat16", lambda: units)
    chosen = choose_precision(asked, CPU)
    sentence = f"this CPU has no units for bfloat16: --precision {asked} gains nothing here, 32 is as fast"
    assert (sentence in chosen.note) == (units != "fast")
    assert ("float16 needs a GPU" in chosen.note) == asked.startswith("16")
    assert chosen.wide == wide
    for name in ("32", "64"):
        assert choose_precision(name, CPU) == (name, "", False)


@pytest.mark.parametrize("model", ["gcn", "ept"])
@pytest.mark.parametrize("asked", ["bf16-mixed", "bf16"])
def test_a_training_has_the_losses_of_bfloat16(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, model: str
) -> None:
    losses, products = [], 0
    original = wide_products._short

    def counted(x: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return original(x)

    monkeypatch.setattr(wide_products, "_short", counted)
    for units in ("fast", "none"):
        assert products == 0
        monkeypatch.setattr(precision, "cpu_bfloat16", lambda units=units: units)
        outcome = train(tiny, tmp_path / units, precision=asked, model=model)
        assert outcome.code == 0, outcome.text
        losses.append([float(row["val_loss"]) for row in metric_rows(tmp_path / units) if row["val_loss"]])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert products > 50


@pytest.mark.skipif("avx2" not in torch.backends.cpu.get_cpu_capability().lower()
                    and "avx512" not in torch.backends.cpu.get_cpu_capability().lower(),
                    reason="the processor's instructions can be limited on x86 only")  # fmt: skip
@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE"])
def test_the_documented_command_says_it_on_such_a_cpu(tiny: Path, tmp_path: Path, limit: str) -> None:
    limited = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": limit}
    done = run_python("-m", "plumbline", "train", *flags(tiny, tmp_path, precision="16-mixed"), **limited)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"float16 needs a GPU: --precision 16-mixed runs as bf16-mixed on this CPU; "
        r"this CPU has no units for bfloat16: --precision 16-mixed gains nothing here, 32 is as fast$",
        done.stdout,
        re.MULTILINE,
    )
