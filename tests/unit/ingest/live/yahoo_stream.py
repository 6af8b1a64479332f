"""What Yahoo's stream says, frame by frame: JSON with Protocol Buffers in base 64, written by hand, not by the client.

The fields are those of ``PricingData`` in yfinance's ``pricing.proto``.
"""

import base64
import json
import struct

TEXT, FLOAT, SIGNED = "text", "float", "signed"
FIELDS = {
    "id": (1, TEXT),
    "price": (2, FLOAT),
    "time": (3, SIGNED),
    "currency": (4, TEXT),
    "exchange": (5, TEXT),
    "quote_type": (6, "int"),
    "market_hours": (7, "int"),
    "day_volume": (9, SIGNED),
    "last_size": (22, SIGNED),
    "bid": (23, FLOAT),
    "bid_size": (24, SIGNED),
    "ask": (25, FLOAT),
    "ask_size": (26, SIGNED),
}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def pricing(**values: object) -> bytes:
    """The bytes of a message: https://protobuf.dev/programming-guides/encoding/."""
    found = b""
    for name, value in values.items():
        number, kind = FIELDS[name]
        if kind == TEXT:
            data = str(value).encode()
            found += _varint(number << 3 | 2) + _varint(len(data)) + data
        elif kind == FLOAT:
            found += _varint(number << 3 | 5) + struct.pack("<f", value)
        elif kind == SIGNED:
            whole = int(str(value))
            found += _varint(number << 3) + _varint(whole << 1 ^ whole >> 63)
        else:
            found += _varint(number << 3) + _varint(int(str(value)))
    return found


def frame(**values: object) -> str:
    return json.dumps({"type": "pricing", "message": base64.b64encode(pricing(**values)).decode()})
