"""CRC-32C (Castagnoli), the checksum of TFRecord files, in NumPy.

TensorFlow verifies it only while it reads a file from its start; records are read here
in any order. Polynomial and mask: RFC 3720, appendix B.4, and TensorFlow's format.
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reversed
_BLOCK = 1024  # bytes per table lookup
_AT_ONCE = 64  # blocks
_MASK = 0xA282EAD8


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of `data` as TFRecord files store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`.

    The checksum is linear: that of a block is the XOR of one table entry per byte, by
    its position. The state before a block is added to its first four bytes.
    """
    table, bytewise = _tables()
    state, head = 0xFFFFFFFF, len(data) % _BLOCK
    for byte in data[:head]:
        state = bytewise[(state ^ byte) & 0xFF] ^ (state >> 8)
    if head == len(data):
        return state ^ 0xFFFFFFFF
    blocks = np.frombuffer(data, np.uint8, offset=head).reshape(-1, _BLOCK)
    first = table[:4].tolist()
    for start in range(0, len(blocks), _AT_ONCE):
        places = blocks[start : start + _AT_ONCE] + 256 * np.arange(_BLOCK)
        for added in np.bitwise_xor.reduce(table.ravel()[places], axis=1).tolist():
            for i in range(4):
                added ^= first[i][(state >> 8 * i) & 0xFF]
            state = added
    return state ^ 0xFFFFFFFF


@functools.cache
def _tables() -> tuple[np.ndarray, list[int]]:
    """Return the tables by position in a block, (`_BLOCK`, 256), and the last one."""
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = np.where(last & 1, last >> 1 ^ np.uint32(_POLYNOMIAL), last >> 1)
    rows = [last]
    for _ in range(_BLOCK - 1):  # one zero byte more behind it
        rows.append(last[rows[-1] & 0xFF] ^ (rows[-1] >> 8))
    return np.stack(rows[::-1]).astype(np.uint32), last.tolist()
