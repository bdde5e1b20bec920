"""A compiled program read from its text: what is exchanged between devices, and what goes to memory and back.

The text is `compiled.as_text()`: what XLA made for one device. Loops count as often as they run.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")

# Give names to what is there, or run other computations, whose own instructions count.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "partition-id", "replica-id", "optimization-barrier", "iota", "async-start",
}  # fmt: skip
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast", "AsyncCollectiveStart", "AsyncCollectiveDone")
_SLICES = {"slice", "dynamic-slice", "gather", "slice-start"}
_BITS = {"pred": 8, "token": 0, "opaque": 0}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")


class Instruction(NamedTuple):
    """One line: `name = shape opcode(operands), rest`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str
    root: bool

    def attribute(self, name: str) -> str | None:
        """The computation that an attribute names."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found and found[1]


class Exchange(NamedTuple):
    """All collectives of one kind, of one device in one run of the program.

    Attributes:
        kind: one of COLLECTIVES.
        runs: how often they run.
        payload: bytes of the whole arrays: what is gathered, added up or passed on.
        received: bytes that have to come in over the network: of n devices a gather or scatter brings (n - 1)/n of the
            payload, an all-reduce twice that (a scatter, then a gather), a permutation all of it.
    """

    kind: str
    runs: int
    payload: float
    received: float


class Program:
    """A compiled program, see the module."""

    def __init__(self, text: str):
        self._computations: dict[str, list[Instruction]] = {}
        self._entry = ""
        current: list[Instruction] = []
        for line in text.splitlines():
            if found := _COMPUTATION.match(line):
                current = self._computations[found[2]] = []
                self._entry = found[2] if found[1] else self._entry
            elif found := _INSTRUCTION.match(line):
                arguments, rest = _split(found[5])
                current.append(Instruction(found[2], found[3], found[4], arguments, rest, bool(found[1])))
        if not self._entry:
            raise ValueError("no ENTRY in the program's text")

    def exchanges(self) -> list[Exchange]:
        """The collectives by kind, the largest first."""
        totals: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
        shapes = {each.name: each.shape for instructions in self._computations.values() for each in instructions}
        fused: set[str] = set()
        for instruction, times in self._instructions(into_fusions=True):
            kind = instruction.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            # A TPU's compiler spreads one collective over the fusions that run beside it: one channel, many pieces.
            channel = re.search(r"channel_id=(\d+)", instruction.rest)
            if channel and instruction.name in self._fused_names:
                if channel[1] in fused:
                    continue
                fused.add(channel[1])
            devices = group_size(instruction.rest)
            payload = sum(array_bytes(shapes[name]) for name in instruction.operands)
            payload *= devices if kind == "all-gather" else 1
            share = 1.0 if kind == "collective-permute" else (devices - 1) / devices
            total = totals[kind]
            total[0] += times
            total[1] += times * payload
            total[2] += times * payload * share * (2 if kind == "all-reduce" else 1)
        rows = [Exchange(kind, int(runs), *sizes) for kind, (runs, *sizes) in totals.items()]
        return sorted(rows, key=lambda row: -row.received)

    def traffic(self) -> float:
        """Bytes read from the device's main memory and written to it.

        Each instruction, or fusion of several, reads what it takes and writes what it makes; of arrays that it slices
        or updates in place only the part. Arrays that the compiler keeps on the chip (memory space S(1)) cost nothing.
        Padding to the layout's tiles counts.
        """
        total = 0.0
        for instructions, times in self._counts.items():
            shapes = {each.name: each.shape for each in self._computations[instructions]}
            for instruction in self._computations[instructions]:
                total += times * self._traffic(instruction, shapes)
        return total

    def _traffic(self, instruction: Instruction, shapes: dict[str, str]) -> float:
        opcode = instruction.opcode
        free = opcode in _FREE or opcode.endswith("-done")
        if free or any(f'"{target}"' in instruction.rest for target in _FREE_CALLS):
            return 0.0
        operands = [shapes[name] for name in dict.fromkeys(instruction.operands)]
        written = memory_bytes(instruction.shape)
        if opcode in _SLICES:
            moved = instruction.shape.rpartition("), ")[2] if opcode == "slice-start" else instruction.shape
            read = memory_bytes(operands[0]) and min(memory_bytes(operands[0]), padded_bytes(moved))
            return read + memory_bytes(moved)
        if opcode == "dynamic-update-slice":
            return 2 * memory_bytes(operands[1]) if written else 0.0
        if opcode.endswith("-start"):  # the result names its source again
            read = sum(map(memory_bytes, operands))
            return read + max(written - read, 0.0)
        if opcode == "fusion" and (body := instruction.attribute("calls")):
            reads, updates = self._fusion(body)
            by_parameter = [shapes[name] for name in instruction.operands]
            read = sum(min(memory_bytes(shape), reads.get(i, math.inf)) for i, shape in enumerate(by_parameter))
            return read + (min(written, updates) if updates is not None else written)
        return sum(map(memory_bytes, operands)) + written

    def _fusion(self, name: str) -> tuple[dict[int, float], float | None]:
        """Of a fusion: bytes read of those parameters of which only slices are, and bytes written if in place."""
        body = self._computations[name]
        shapes = {each.name: each for each in body}
        users: dict[str, list[Instruction]] = defaultdict(list)
        for each in body:
            for operand in each.operands:
                users[operand].append(each)

        def through(each: Instruction) -> list[Instruction]:
            return [
                final for user in users[each.name] for final in (through(user) if user.opcode == "bitcast" else [user])
            ]

        reads: dict[int, float] = {}
        for each in body:
            if each.opcode != "parameter":
                continue
            last = through(each)
            index = int(re.match(r"\d+", each.rest)[0]) if each.rest else 0  # type: ignore[index]
            if last and all(user.opcode in _SLICES for user in last):
                reads[index] = sum(padded_bytes(user.shape) for user in last)
            elif last and all(user.opcode == "dynamic-update-slice" and _updates(user, each, shapes) for user in last):
                reads[index] = 0.0
        root = next(each for each in body if each.root)
        while root.opcode == "bitcast":
            root = shapes[root.operands[0]]
        if root.opcode == "dynamic-update-slice":
            return reads, padded_bytes(shapes[root.operands[1]].shape)
        return reads, None

    @cached_property
    def _counts(self) -> Counter[str]:
        """How often each computation runs; those of fusions are not among them."""
        counts: Counter[str] = Counter()

        def visit(name: str, times: int) -> None:
            counts[name] += times
            for instruction in self._computations[name]:
                if instruction.opcode == "while":
                    rounds = times * self._rounds(instruction)
                    visit(instruction.attribute("body") or "", rounds)
                elif instruction.opcode in ("call", "async-start"):
                    visit(instruction.attribute("to_apply") or instruction.attribute("calls") or "", times)
                elif instruction.opcode == "conditional":
                    for branch in _branches(instruction.rest):
                        visit(branch, times)

        visit(self._entry, 1)
        return counts

    def _rounds(self, loop: Instruction) -> int:
        """Of a loop: as XLA knows them, or the bound in its condition, since loops of its own count up from zero."""
        if found := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(found[1])
        condition = self._computations[loop.attribute("condition") or ""]
        by_name = {each.name: each for each in condition}
        for each in condition:
            if each.root and each.opcode == "compare" and "direction=LT" in each.rest:
                bound = by_name[each.operands[1]]
                if bound.opcode == "constant":
                    return int(bound.rest.partition(")")[0])
        raise ValueError(f"loop {loop.name}: the number of its rounds is not in the program's text")

    @cached_property
    def _fused_names(self) -> set[str]:
        inside = {
            instruction.attribute("calls")
            for instructions in self._computations.values()
            for instruction in instructions
            if instruction.opcode == "fusion"
        }
        return {each.name for name in inside if name for each in self._computations[name]}

    def _instructions(self, into_fusions: bool) -> Iterator[tuple[Instruction, int]]:
        for name, times in self._counts.items():
            for instruction in self._computations[name]:
                yield instruction, times
                body = instruction.attribute("calls") if instruction.opcode == "fusion" else None
                if into_fusions and body:
                    for inner in self._computations[body]:
                        yield inner, times


def group_size(attributes: str) -> int:
    """How many devices take part in a collective together."""
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([\w.]+)'=(\d+)", found[1]))
        axes = re.findall(r"'([\w.]+)'(?::\(\d+\)(\d+))?", found[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", attributes):
        return int(found[2])
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return found[1].count(",") + 1
    return 1


def array_bytes(shape: str) -> float:
    """Bytes of the elements of an array, or of all arrays of a tuple."""
    return sum(_elements(sizes) * _bits(kind) / 8 for kind, sizes, _ in _ARRAY.findall(shape))


def memory_bytes(shape: str) -> float:
    """Bytes, with the layout's padding, of those arrays that lie in main memory."""
    return sum(_padded(*array) for array in _ARRAY.findall(shape) if not re.search(r"S\([1-9]", array[2]))


def padded_bytes(shape: str) -> float:
    """Bytes with the layout's padding, wherever the arrays lie."""
    return sum(_padded(*array) for array in _ARRAY.findall(shape))


def _padded(kind: str, sizes: str, layout: str) -> float:
    dims = [int(size) for size in sizes.split(",") if size]
    order = [int(axis) for axis in re.match(r"[\d,]*", layout)[0].split(",") if axis]  # type: ignore[index]
    if tile := re.search(r":T\(([\d,]+)\)", layout):
        tiles = [int(size) for size in tile[1].split(",")]
        for axis, size in zip(order, reversed(tiles), strict=False):
            dims[axis] = -(-dims[axis] // size) * size
    return math.prod(dims) * _bits(kind) / 8


def _elements(sizes: str) -> int:
    return math.prod(int(size) for size in sizes.split(",") if size)


def _bits(kind: str) -> int:
    if kind in _BITS:
        return _BITS[kind]
    found = re.match(r"(?:bf|[a-z])(\d+)", kind)
    if not found:
        raise ValueError(f"array of an unknown type, {kind}")
    return int(found[1])


def _updates(user: Instruction, parameter: Instruction, body: dict[str, Instruction]) -> bool:
    """Whether a parameter is what `user` updates, not what it writes into something else."""
    target = body[user.operands[0]]
    while target.opcode == "bitcast":
        target = body[target.operands[0]]
    return target.name == parameter.name


def _branches(attributes: str) -> list[str]:
    if found := re.search(r"branch_computations=\{([^}]*)\}", attributes):
        return _NAME.findall(found[1])
    return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", attributes)


def _split(text: str) -> tuple[tuple[str, ...], str]:
    """The operands' names and what follows them; of constants and parameters, which have none, all the text."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            names = tuple(_NAME.findall(text[:position]))
            return names, text[position:] if names else text
    return (), text
