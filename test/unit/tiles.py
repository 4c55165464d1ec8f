"""AMX for emulator.py, whose Bochs does not know it: tile instructions are undefined to it, and carried out here. After the
Intel SDM, volume 2; products of bfloat16 are two chains of fused multiply-adds, over even and over odd k, subnormals zero.
Tiles are that of palette 1: eight of 16 rows of 64 bytes."""

import ctypes
import math
import operator
import struct

REGISTERS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16))]


class Undefined(Exception):
    def __str__(self):
        return "#UD"


def as_float(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def flushed(value):
    return math.copysign(0.0, value) if abs(value) < 2.0**-126 else value


def to_single(value):
    return flushed(ctypes.c_float(value).value)


def fused(a, b, c):
    """a * b + c, rounded once to f32. The product of two bfloat16 is exact in f64; the sum is rounded to odd there."""
    product = a * b
    total = product + c
    if math.isfinite(total):
        part = total - product
        error = (product - (total - part)) + (c - part)
        if error != 0:
            bits = struct.unpack("<q", struct.pack("<d", total))[0]
            if bits % 2 == 0:
                total = struct.unpack("<d", struct.pack("<q", bits + (1 if (error > 0) == (total > 0) else -1)))[0]
    return to_single(total)


class Tiles:
    def __init__(self, read, write):
        """read(address, length) and write(address, bytes) raise what a processor's page fault is to the caller."""
        self.read, self.write = read, write
        self.release()

    def release(self):
        self.config = None
        self.data = [bytearray(1024) for _ in range(8)]

    def step(self, cpu):
        """Carries out the undefined instruction that ends at rip. False: it is none of AMX."""
        for length in (5, 6, 7, 9, 10):
            code = self.read(cpu.rip - length, length)
            if code[0] == 0xC4 and code[1] & 0x1F == 2 and code[2] & 0x84 == 0 and self.decoded(cpu, code):
                return True
        return False

    def decoded(self, cpu, code):
        """Whether `code` is one instruction, done now."""
        rex_x, rex_b = ~code[1] >> 6 & 1, ~code[1] >> 5 & 1
        third, prefix = ~code[2] >> 3 & 15, code[2] & 3
        opcode, mod, reg, rm = code[3], code[4] >> 6, code[4] >> 3 & 7, code[4] & 7
        if mod == 3:
            if len(code) != 5:
                return False
            return self.on_registers(opcode, prefix, reg, rm, third)
        at, stride, sib = 5, 0, rm == 4
        base = getattr(cpu, REGISTERS[rm | rex_b << 3])
        if sib:
            if len(code) < 6:
                return False
            at = 6
            index = code[5] >> 3 & 7 | rex_x << 3
            if index != 4:
                stride = getattr(cpu, REGISTERS[index]) << (code[5] >> 6)
            base = getattr(cpu, REGISTERS[code[5] & 7 | rex_b << 3])
        size = (0, 1, 4)[mod]
        if mod == 0 and (code[5] & 7 if sib else rm) == 5:
            size, base = 4, 0 if sib else cpu.rip
        if len(code) != at + size:
            return False
        address = base + int.from_bytes(code[at:], "little", signed=True)
        return self.on_memory(opcode, prefix, reg, address, stride, sib)

    def shape(self, tile):
        """Rows and bytes in a row."""
        if self.config is None or tile > 7 or self.config[48 + tile] == 0:
            raise Undefined
        return self.config[48 + tile], struct.unpack_from("<H", self.config, 16 + 2 * tile)[0]

    def on_memory(self, opcode, prefix, reg, address, stride, sib):
        if opcode == 0x49 and reg == 0 and prefix == 0:
            config = self.read(address, 64)
            self.release()
            if config[0] == 0:
                return True
            shapes = [(config[48 + t], struct.unpack_from("<H", config, 16 + 2 * t)[0]) for t in range(8)]
            bad = config[0] != 1 or any(config[2:16]) or any(config[32:48]) or any(config[56:])
            if bad or any(rows > 16 or width > 64 or (rows == 0) != (width == 0) for rows, width in shapes):
                raise Undefined
            self.config = config
        elif opcode == 0x49 and reg == 0 and prefix == 1:
            self.write(address, bytes(self.config or 64))
        elif opcode == 0x4B and sib and prefix in (1, 3):
            rows, width = self.shape(reg)
            self.data[reg] = bytearray(1024)
            for row in range(rows):
                self.data[reg][64 * row : 64 * row + width] = self.read(address + row * stride & 2**64 - 1, width)
        elif opcode == 0x4B and sib and prefix == 2:
            rows, width = self.shape(reg)
            for row in range(rows):
                self.write(address + row * stride & 2**64 - 1, bytes(self.data[reg][64 * row : 64 * row + width]))
        else:
            return False
        return True

    def on_registers(self, opcode, prefix, reg, rm, third):
        if opcode == 0x49 and prefix == 0 and reg == 0 and rm == 0:
            self.release()
        elif opcode == 0x49 and prefix == 3 and rm == 0:
            self.shape(reg)
            self.data[reg] = bytearray(1024)
        elif opcode == 0x5E:
            # SSD, SUD, USD, UUD: whether the bytes of the first and of the second factor have a sign.
            signs = {3: "bb", 2: "bB", 1: "Bb", 0: "BB"}[prefix]
            self.multiply(reg, rm, third, self.integers, signs)
        elif opcode == 0x5C and prefix == 2:
            self.multiply(reg, rm, third, self.bfloats, "")
        else:
            return False
        return True

    def multiply(self, c, a, b, kernel, signs):
        (rows, width), (a_rows, a_width), (b_rows, b_width) = self.shape(c), self.shape(a), self.shape(b)
        if len({a, b, c}) < 3 or width % 4 or a_width % 4 or rows != a_rows or width != b_width or a_width != 4 * b_rows:
            raise Undefined
        left = [self.data[a][64 * m : 64 * m + a_width] for m in range(rows)]
        right = [b"".join(self.data[b][64 * k + 4 * n :][:4] for k in range(b_rows)) for n in range(width // 4)]
        kernel(self.data[c], left, right, signs)

    @staticmethod
    def integers(sums, left, right, signs):
        rows = [struct.unpack(f"{len(row)}{signs[0]}", row) for row in left]
        columns = [struct.unpack(f"{len(column)}{signs[1]}", column) for column in right]
        for m, row in enumerate(rows):
            for n, column in enumerate(columns):
                total = struct.unpack_from("<I", sums, 64 * m + 4 * n)[0] + sum(map(operator.mul, row, column))
                struct.pack_into("<I", sums, 64 * m + 4 * n, total & 0xFFFFFFFF)

    @staticmethod
    def bfloats(sums, left, right, _):
        def decode(data):
            return [flushed(as_float(bits << 16)) for bits in struct.unpack(f"<{len(data) // 2}H", data)]

        rows, columns = [decode(row) for row in left], [decode(column) for column in right]
        finite = [all(map(math.isfinite, column)) for column in columns]
        for m, row in enumerate(rows):
            # Of rows that fill up a tile every product is a zero, and adds nothing.
            empty = not any(row)
            for n, column in enumerate(columns):
                even = odd = 0.0
                for k in range(0, 0 if empty and finite[n] else len(row), 2):
                    even, odd = fused(row[k], column[k], even), fused(row[k + 1], column[k + 1], odd)
                at = 64 * m + 4 * n
                total = flushed(struct.unpack_from("<f", sums, at)[0])
                struct.pack_into("<f", sums, at, to_single(total + to_single(even + odd)))
