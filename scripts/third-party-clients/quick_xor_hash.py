"""quickXorHash, bit by bit as its definition says: slow, and nobody's optimisation."""

import base64


def quick_xor_hash(content):
    state = 0
    for at, byte in enumerate(content):
        shift = at * 11 % 160
        state ^= byte << shift
        state = (state & ((1 << 160) - 1)) ^ (state >> 160)
    digest = bytearray(state.to_bytes(20, "little"))
    for at, byte in enumerate(len(content).to_bytes(8, "little")):
        digest[12 + at] ^= byte
    return base64.b64encode(digest).decode()
