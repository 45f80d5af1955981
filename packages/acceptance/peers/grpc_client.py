"""Calls demo.v1.Echo with grpcio over mTLS; prints one JSON object.

    grpc_client.py TARGET KIND BYTES CA CERT KEY      KIND: unary, client, server, bidi, cancel
Messages are encoded by hand (field 1, bytes), so that nothing is generated.
"""
import json
import sys
import time

import grpc

target, kind, size, ca, cert, key = sys.argv[1:]
size = int(size)
read = lambda path: open(path, "rb").read()


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(payload):
    return b"\x0a" + varint(len(payload)) + payload


credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(cert))
channel = grpc.secure_channel(target, credentials)
path = "/demo.v1.Echo/"
chunk = message(b"x" * 65536)
chunks = lambda: (chunk for _ in range(size // 65536))
result = {"code": 0, "bytes": 0}
try:
    if kind == "unary":
        result["bytes"] = len(channel.unary_unary(path + "Unary")(message(b"x" * size), timeout=60))
    elif kind == "client":
        result["bytes"] = size
        result["reply"] = channel.stream_unary(path + "ClientStream")(chunks(), timeout=300).hex()
    elif kind == "server":
        for part in channel.unary_stream(path + "ServerStream")(b"\x08" + varint(size), timeout=300):
            result["bytes"] += 65536
    elif kind == "bidi":
        for part in channel.stream_stream(path + "Bidi")(chunks(), timeout=300):
            result["bytes"] += 65536
    elif kind == "cancel":
        call = channel.unary_stream(path + "ServerStream")(b"\x08" + varint(size), timeout=300)
        next(call)
        call.cancel()
        time.sleep(0.2)
except grpc.RpcError as error:
    result["code"] = error.code().value[0]
    result["details"] = error.details()
print(json.dumps(result))
