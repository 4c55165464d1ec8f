"""Runs x86-64 machine code in an emulated processor, for instruction sets that the processor at hand lacks: Bochs, as the
package bochscpu-python has it, and for AMX, which that lacks, tiles.py. Usage: emulator.py MODEL, with requests on standard input and answers on standard output.

A message is: length of the header (u32), the header (JSON), bytes that the header counts.
  request {"entry": address, "calls": [[rdi, rsi, rdx, rcx or nothing], ...], "regions": [[address, length, writable], ...]} and the regions' bytes
  answer  {"fault": text or null} and the bytes of the writable regions
Regions are whole pages within the first 256 MiB and above FREE; all else is not mapped. Calls follow one another in one
memory, each with fresh registers. What a function must keep (System V ABI) is checked. A request has a minute; then the process ends.
"""

import ctypes
import json
import mmap
import os
import re
import signal
import struct
import sys

import bochscpu._bochscpu as bochs
from bochscpu import memory
from tiles import Tiles, Undefined

PAGE = 4096
SPACE = 256 << 20
# Physical addresses are the virtual ones. Tables of pages, a stub that calls the code, a stack, then what requests ask for.
PML4, PDPT, PD, PT = 0x1000, 0x2000, 0x3000, 0x10000
STUB, RETURNS, STACK, STACK_END, FREE = 0xA0000, 0xB0000, 0x100000, 0x180000, 0x200000

# Place in Bochs' list of processors, and what CPUID leaf 1 then tells in eax.
MODELS = {"avx2": (22, 0x306C3), "avx512": (24, 0x50654), "vnni": (27, 0x806C1), "amx": (28, 0x806F8)}

EXCEPTIONS = {0: "#DE", 1: "#DB", 3: "#BP", 6: "#UD", 7: "#NM", 8: "#DF", 12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 19: "#XM"}

KEPT = {name: 0x1122334455667700 + at for at, name in enumerate(["rbx", "rbp", "r12", "r13", "r14", "r15"])}


def choose_model(index):
    """Bochs asks its parameter "cpu.model" when a processor is made; the package gives no other way to it."""
    library = ctypes.CDLL(bochs.__file__)
    find = library._ZN13bx_real_sim_c14get_param_enumEPKcP10bx_param_c
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    parameter = find(ctypes.c_void_p.in_dll(library, "SIM"), b"cpu.model", None)
    limits = library._ZN14bx_param_num_c9set_rangeEmm
    limits.restype, limits.argtypes = None, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
    limits(parameter, 0, 100)
    put = library._ZN14bx_param_num_c3setEl
    put.restype, put.argtypes = None, [ctypes.c_void_p, ctypes.c_int64]
    put(parameter, index)


def one_of(fits):
    return b"[" + re.escape(bytes(filter(fits, range(256)))) + b"]"


# VCVTNE2PS2BF16 of registers, which this Bochs gets wrong: its opcode 72 becomes 71, undefined, and it is carried out here.
PREFIX = b"\x62" + one_of(lambda p: p & 15 == 2) + one_of(lambda p: p & 0x87 == 7) + b"[\x40\x48]"
PAIRS = re.compile(b"(?<=" + PREFIX + b")\x72(?=[\xc0-\xff])", re.DOTALL)


class PageFault(Exception):
    pass


def to_bfloat16(bits):
    """To nearest even; subnormals are zero."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0:
        return bits >> 16 & 0x8000
    if exponent == 0xFF and fraction:
        return bits >> 16 | 0x40
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


class Machine:
    def __init__(self, model):
        index, signature = MODELS[model]
        choose_model(index)
        self.session = bochs.Session()
        self.session.missing_page_handler = self.on_missing_page
        self.hook = bochs.Hook()
        self.hook.exception = self.on_exception
        self.hook.hlt = lambda session, cpu: session.stop()
        self.entry = 0
        self.tiles = Tiles(self.read, self.write) if model == "amx" else None
        self.tile_step = False
        self.fault = None
        self.backed = set()
        self.ram = mmap.mmap(-1, SPACE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.ram))
        for page in [PML4, PDPT, PD]:
            self.back(page)
        self.word(PML4, PDPT | 7)
        self.word(PDPT, PD | 7)
        for i in range(SPACE // (512 * PAGE)):
            self.back(PT + i * PAGE)
            self.word(PD + 8 * i, (PT + i * PAGE) | 7)
        self.map(STUB, PAGE, False)
        self.map(STACK, STACK_END - STACK, True)
        # call rax; hlt
        self.ram[STUB : STUB + 3] = bytes.fromhex("ffd0f4")
        # call rdi; inc rdi; dec rsi; jnz to the start; ret
        self.ram[STUB + 16 : STUB + 27] = bytes.fromhex("ffd748ffc748ffce75f6c3")
        self.map(RETURNS, 1 << 16, False)
        self.ram[RETURNS : RETURNS + (1 << 16)] = b"\xc3" * (1 << 16)
        self.ram[FREE : FREE + 10] = bytes.fromhex("53b8010000000fa25bc3")  # push rbx; mov eax, 1; cpuid; pop rbx; ret
        self.map(FREE, PAGE, False)
        self.call(FREE, 0, 0, 0)
        if self.fault is not None or self.session.cpu.rax != signature:
            sys.exit(f"{model} has the signature {self.session.cpu.rax:#x} ({self.fault})")
        self.unmap(FREE, PAGE)

    def word(self, at, value):
        self.ram[at : at + 8] = struct.pack("<Q", value)

    def back(self, page):
        """Gives a physical page its memory."""
        if page not in self.backed:
            memory.page_insert(page, self.base + page)
            self.backed.add(page)

    def map(self, address, length, writable):
        for page in range(address, address + length, PAGE):
            self.back(page)
            self.word(PT + page // PAGE * 8, page | (7 if writable else 5))

    def unmap(self, address, length):
        for page in range(address, address + length, PAGE):
            self.word(PT + page // PAGE * 8, 0)

    def check_access(self, address, length, write):
        for page in {address // PAGE, (address + length - 1) // PAGE}:
            entry = struct.unpack_from("<Q", self.ram, PT + page * 8)[0] if page < SPACE // PAGE else 0
            if entry & (3 if write else 1) != (3 if write else 1):
                raise PageFault(f"#PF at {address:#x}+{length}")

    def read(self, address, length):
        self.check_access(address, length, False)
        return self.ram[address : address + length]

    def write(self, address, data):
        self.check_access(address, len(data), True)
        self.ram[address : address + len(data)] = data

    def on_missing_page(self, gpa):
        self.fault = f"no memory at {gpa:#x}"
        self.session.stop()

    def on_exception(self, session, cpu, vector, error):
        session.stop()
        if vector == 6 and self.tiles is not None:
            try:
                self.next = session.cpu.rip
                self.tile_step = self.convert_pairs(session.cpu) or self.tiles.step(session.cpu)
                if self.tile_step:
                    return
            except (PageFault, Undefined) as error:
                self.fault = f"{error} in the tile instruction before byte {session.cpu.rip - self.entry} of the code"
                return
        name = EXCEPTIONS.get(vector, f"exception {vector}")
        at = f" at {session.cpu.cr2:#x}" if vector == 14 else ""
        self.fault = f"{name}{at} in the instruction before byte {session.cpu.rip - self.entry} of the code"

    def convert_pairs(self, cpu):
        """Carries out VCVTNE2PS2BF16 zmm, zmm, zmm. False: it is something else."""
        if cpu.rip - 6 < self.entry:
            return False
        code = self.read(cpu.rip - 6, 6)
        p0, p1, p2, modrm = code[1], code[2], code[3], code[5]
        if code[0] != 0x62 or p0 & 0xF != 2 or p1 & 0x87 != 7 or p2 & 0xF7 != 0x40 or code[4] != 0x71 or modrm < 0xC0:
            return False
        to = (~p0 >> 4 & 1) << 4 | (~p0 >> 7 & 1) << 3 | modrm >> 3 & 7
        high = (~p2 >> 3 & 1) << 4 | ~p1 >> 3 & 15
        low = (~p0 >> 6 & 1) << 4 | (~p0 >> 5 & 1) << 3 | modrm & 7
        state = cpu.state
        registers = state.zmm
        words = [bits for source in (low, high) for q in registers[source].q for bits in (q & 0xFFFFFFFF, q >> 32)]
        halves = struct.pack("<32H", *map(to_bfloat16, words))
        result = registers[to]
        result.q = list(struct.unpack("<8Q", halves))
        registers[to] = result
        state.zmm = registers
        cpu.set_state_no_flush(state)
        return True

    def call(self, entry, rdi, rsi, rdx, rcx=0):
        self.entry = entry
        state = bochs.State()
        state.cr0 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1  # PG WP NE ET MP PE
        state.cr3 = PML4
        state.cr4 = 1 << 18 | 1 << 10 | 1 << 9 | 1 << 5  # OSXSAVE OSXMMEXCPT OSFXSR PAE
        state.efer = 1 << 11 | 1 << 10 | 1 << 8  # NXE LMA LME
        state.xcr0 = 0xE7  # x87, SSE, AVX, AVX-512
        state.mxcsr, state.mxcsr_mask = 0x1F80, 0xFFFF
        state.rflags = 2
        for name, attributes in [("cs", 0xA09B), ("ds", 0xC093), ("es", 0xC093), ("ss", 0xC093), ("fs", 0xC093), ("gs", 0xC093)]:
            segment = bochs.Segment()
            segment.present, segment.selector, segment.base, segment.limit, segment.attr = True, 0x10, 0, 0xFFFFFFFF, attributes
            setattr(state, name, segment)
        for name, value in KEPT.items():
            setattr(state, name, value)
        state.rdi, state.rsi, state.rdx, state.rcx = rdi, rsi, rdx, rcx
        state.rax, state.rip, state.rsp = entry, STUB, STACK_END - 64
        self.session.cpu.state = state
        self.fault = None
        self.session.run([self.hook])
        while self.tile_step:
            self.tile_step = False
            self.session.cpu.rip = self.next
            self.session.run([self.hook])
        if self.fault is None:
            self.check(self.session.cpu)

    def forget(self, address, length):
        """Bochs keeps what it has decoded, by the low 16 bits of its address, until other code with the same is run."""
        start = address & 0xFFFF
        self.call(STUB + 16, RETURNS + start, min(length, 0x10000 - start), 0)
        if start + length > 0x10000:
            self.call(STUB + 16, RETURNS, min(start + length - 0x10000, 0x10000), 0)

    def check(self, after):
        for name, value in KEPT.items():
            if getattr(after, name) != value:
                self.fault = f"{name} was not kept"
        if after.rsp != STACK_END - 64:
            self.fault = "rsp was not kept"
        state = after.state
        if state.mxcsr & 0xFFC0 != 0x1F80:
            self.fault = f"mxcsr is {state.mxcsr:#x}"
        if any(any(register.q[2:]) for register in state.zmm[:16]):
            self.fault = "upper halves of vector registers are not clean"

    def answer(self, request, take):
        regions = request["regions"]
        for address, length, writable in regions:
            self.map(address, length, writable)
            self.ram[address : address + length] = take(length)
        for address, length, writable in regions:
            if not writable:
                self.ram[address : address + length] = PAIRS.sub(b"\x71", self.ram[address : address + length])
                self.forget(address, length)
        for registers in request["calls"]:
            self.call(request["entry"], *registers)
            if self.fault is not None:
                break
        for address, length, _ in regions:
            self.unmap(address, length)
        return {"fault": self.fault}, b"".join(self.ram[a : a + n] for a, n, writable in regions if writable)


def main():
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    machine = Machine(sys.argv[1])

    def take(length):
        data = requests.read(length)
        if len(data) < length:
            sys.stdout.flush()
            os._exit(0)  # The package crashes at an ordinary end.
        return data

    while True:
        header = json.loads(take(struct.unpack("<I", take(4))[0]))
        signal.alarm(60)
        answer, data = machine.answer(header, take)
        signal.alarm(0)
        text = json.dumps(answer).encode()
        answers.write(struct.pack("<I", len(text)) + text + data)
        answers.flush()


main()
