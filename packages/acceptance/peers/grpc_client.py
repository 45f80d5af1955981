"""Calls demo.v1.Echo with grpcio over mTLS; prints one JSON object.

    grpc_client.py TARGET KIND AMOUNT CA CERT KEY     KIND: unary, client, server, bidi, cancel, load

AMOUNT is bytes, for `load` seconds of unary calls. Messages are encoded by hand (field 1, bytes), so that nothing is
generated. Streams are read slowly and compared with what was sent, message by message; a difference is an error.
"""
import json
import sys
import time

import grpc

target, kind, amount, ca, cert, key = sys.argv[1:]
amount = int(amount)
read = lambda path: open(path, "rb").read()

CHUNK = 65536
# A reader that does nothing at first, and then waits 64 times: what is not bounded piles up meanwhile.
FIRST_WAIT = 1.0
WAITS, WAIT = 64, 0.05


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(payload):
    return b"\x0a" + varint(len(payload)) + payload


def fields(data):
    """Fields of a message by number; varints and bytes are all there is."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        found[tag >> 3] = value
    return found


def numbered(index):
    """A payload that differs from every other of the stream."""
    return index.to_bytes(8, "big") + b"x" * (CHUNK - 8)


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r:.80}, expected {wanted!r:.80}")


def read_slowly(call, payload_of):
    """Reads a stream to its end; returns how many bytes of payload came."""
    total = 0
    every = max(1, amount // CHUNK // WAITS)
    time.sleep(FIRST_WAIT)
    for index, part in enumerate(call):
        payload = fields(part)[1]
        expect(f"message {index}", payload, payload_of(index))
        total += len(payload)
        if index % every == 0:
            time.sleep(WAIT)
    return total


def connect():
    credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(cert))
    # Channels of the same target and options share connections otherwise.
    return grpc.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def load(seconds):
    """Unary calls one after another; a new channel now and then, so that handshakes are part of it."""
    calls, failed, channel = 0, [], connect()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if calls % 100 == 99:
            channel.close()
            channel = connect()
        payload = numbered(calls)[:1024]
        calls += 1
        try:
            reply = channel.unary_unary(path + "Unary")(message(payload), timeout=10)
            expect(f"call {calls}", fields(reply)[1], payload)
        except (grpc.RpcError, AssertionError) as error:
            failed.append(str(error)[:300])
        # Idle for a while as well: connections age meanwhile.
        time.sleep(0.7 if calls % 50 == 0 else 0.005)
    return calls, failed


path = "/demo.v1.Echo/"
result = {"code": 0, "bytes": 0}
try:
    channel = connect()
    count = amount // CHUNK
    chunks = (message(numbered(index)) for index in range(count))
    if kind == "unary":
        payload = b"x" * amount
        reply = channel.unary_unary(path + "Unary")(message(payload), timeout=60)
        expect("reply", fields(reply)[1], payload)
        result["bytes"] = len(payload)
    elif kind == "client":
        summary = fields(channel.stream_unary(path + "ClientStream")(chunks, timeout=300))
        expect("messages", summary.get(2, 0), count)
        result["bytes"] = summary.get(1, 0)
    elif kind == "server":
        call = channel.unary_stream(path + "ServerStream")(b"\x08" + varint(amount), timeout=300)
        plain = b"x" * CHUNK
        result["bytes"] = read_slowly(call, lambda index: plain[: amount - index * CHUNK])
    elif kind == "bidi":
        result["bytes"] = read_slowly(channel.stream_stream(path + "Bidi")(chunks, timeout=300), numbered)
    elif kind == "cancel":
        call = channel.unary_stream(path + "ServerStream")(b"\x08" + varint(amount), timeout=300)
        next(call)
        call.cancel()
        time.sleep(0.2)
    elif kind == "load":
        result["calls"], result["failed"] = load(amount)
except grpc.RpcError as error:
    result["code"] = error.code().value[0]
    result["details"] = error.details()
except AssertionError as error:
    result["code"] = -1
    result["details"] = str(error)
print(json.dumps(result))
