"""Collectives and traffic of real compiled programs, and of lines as TPUs' compiler writes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hlo import Exchange, Program, array_bytes, group_size, memory_bytes, padded_bytes


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(__file__).with_name("programs.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    texts: dict[str, str] = json.loads(done.stdout)
    return texts


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Five times a matrix of 64 x 64, of which three quarters are elsewhere.
        ("gather", Exchange("all-gather", 5, 5 * 64 * 64 * 4, 5 * 48 * 64 * 4)),
        # Half of the rows on each device; two devices add theirs up: one half goes each way, twice.
        ("reduce", Exchange("all-reduce", 1, 32 * 128 * 4, 2 * 16 * 128 * 4)),
        ("scatter", Exchange("reduce-scatter", 1, 64 * 128 * 4, 48 * 128 * 4)),
        ("permute", Exchange("collective-permute", 1, 16 * 128 * 4, 16 * 128 * 4)),
    ],
)
def test_exchanges(name: str, expected: Exchange, programs: dict[str, str]) -> None:
    assert Program(programs[name]).exchanges() == [expected]


def test_traffic_is_what_is_read_and_written(programs: dict[str, str]) -> None:
    assert Program(programs["add"]).traffic() == 2 * 64 * 128 * 4


def test_arrays_that_are_updated_in_place_cost_what_is_written(programs: dict[str, str]) -> None:
    """Seven rows of 1 KiB in an array of a thousand: the whole would be 14 MB."""
    assert 7 * 1024 <= Program(programs["update"]).traffic() < 100 * 1024


TPU = """\
HloModule jit_step, is_scheduled=true

%cond (state: (u32[], bf16[16,128])) -> pred[] {
  %state = (u32[]{:T(128)}, bf16[16,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %bound = u32[]{:T(128)} constant(8), metadata={op_name="x"}
  %index = u32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %less = pred[]{:T(512)} compare(%index, %bound), direction=LT, metadata={op_name="x"}
}

%body (state.1: (u32[], bf16[16,128])) -> (u32[], bf16[16,128]) {
  %state.1 = (u32[]{:T(128)}, bf16[16,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %index.1 = u32[]{:T(128)} get-tuple-element(%state.1), index=0
  %part = bf16[16,128]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%state.1), index=1
  %sent = (bf16[16,128]{1,0:T(8,128)(2,1)}, bf16[16,128]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) \
collective-permute-start(%part), channel_id=3, source_target_pairs={{0,1},{1,0}}
  %done = bf16[16,128]{1,0:T(8,128)(2,1)} collective-permute-done(%sent)
  ROOT %both = (u32[]{:T(128)}, bf16[16,128]{1,0:T(8,128)(2,1)}) tuple(%index.1, /*index=1*/%done)
}

%fused_start (p: bf16[1,1,320]) -> (bf16[1,1,320], bf16[16,1,320]) {
  %p = bf16[1,1,320]{2,1,0:T(2,128)(2,1)} parameter(0)
  %gathered = bf16[16,1,320]{2,1,0:T(2,128)(2,1)} all-gather(%p), channel_id=26, \
replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
  ROOT %started = (bf16[1,1,320]{2,1,0:T(2,128)(2,1)}, bf16[16,1,320]{2,1,0:T(2,128)(2,1)}) custom-call(%gathered), \
custom_call_target="AsyncCollectiveStart"
}

%fused_go_on (q: bf16[1,1,320]) -> bf16[16,1,320] {
  %q = bf16[1,1,320]{2,1,0:T(2,128)(2,1)} parameter(0)
  ROOT %further = bf16[16,1,320]{2,1,0:T(2,128)(2,1)} all-gather(%q), channel_id=26, \
replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
}

ENTRY %main (a: bf16[1,1,320], b: (u32[], bf16[16,128])) -> bf16[16,1,320] {
  %a = bf16[1,1,320]{2,1,0:T(2,128)(2,1)} parameter(0)
  %b = (u32[]{:T(128)}, bf16[16,128]{1,0:T(8,128)(2,1)}) parameter(1)
  %loop = (u32[]{:T(128)}, bf16[16,128]{1,0:T(8,128)(2,1)}) while(%b), condition=%cond, body=%body
  %one = (bf16[1,1,320]{2,1,0:T(2,128)(2,1)S(1)}, bf16[16,1,320]{2,1,0:T(2,128)(2,1)S(1)}) fusion(%a), kind=kCustom, \
calls=%fused_start
  ROOT %two = bf16[16,1,320]{2,1,0:T(2,128)(2,1)S(1)} fusion(%a), kind=kCustom, calls=%fused_go_on
}
"""


def test_a_tpu_program() -> None:
    """A loop whose rounds its condition tells, and one collective in the pieces of two fusions."""
    program = Program(TPU)
    rows = {each.kind: each for each in program.exchanges()}
    assert rows["collective-permute"] == Exchange("collective-permute", 8, 8 * 16 * 128 * 2, 8 * 16 * 128 * 2)
    assert rows["all-gather"] == Exchange("all-gather", 1, 16 * 320 * 2, 15 * 320 * 2)
    # The permutation takes from the chip's own memory and puts two copies of the same into main memory; each fusion
    # reads one row, padded to two of 384.
    assert program.traffic() == 8 * 2 * 16 * 128 * 2 + 2 * 2 * 384 * 2


def test_a_loop_of_unknown_length() -> None:
    with pytest.raises(ValueError, match="loop loop: the number of its rounds"):
        Program(TPU.replace("direction=LT", "direction=NE")).traffic()


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("replica_groups={{0,4,8,12},{1,5,9,13}}, use", 4),
        ("replica_groups=[2,8]<=[16], use", 8),
        ("replica_groups=[4,4]<=[4,4]T(1,0), use", 4),
        ("replica_groups=mesh['a'=1,'b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}, dimensions={1}", 4),
        ("replica_groups=mesh['a'=4,'b'=4] {'a','b'}, use", 16),
        ("replica_groups=mesh['a'=16,'b'=4] {'a':(1)2}, use", 2),
        ("to_apply=%add", 1),
    ],
)
def test_group_size(attributes: str, size: int) -> None:
    assert group_size(attributes) == size


def test_sizes_of_shapes() -> None:
    assert array_bytes("(f32[3,5]{1,0}, pred[7], u4[4], s32[])") == 60 + 7 + 2 + 4
    assert padded_bytes("bf16[8,32,4]{2,1,0:T(8,128)(2,1)}") == 8 * 32 * 128 * 2
    assert padded_bytes("bf16[8,32,4]{0,1,2:T(8,128)(2,1)}") == 128 * 32 * 4 * 2
    assert memory_bytes("(f32[8,128]{1,0:T(8,128)S(1)}, f32[1]{0:S(2)}, f32[4])") == 16
