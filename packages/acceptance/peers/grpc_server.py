"""A grpcio server over mTLS that echoes demo.v1.Echo/Unary; prints its port.

    grpc_server.py CA CERT KEY [LEDGER]

With LEDGER it writes each message as a line into that file, which replicas share, before it answers. A message that
ends in a mark is written, and then
    !                  the connection ends
    ?                  the answer is UNAVAILABLE
    #                  the process ends
Bidi echoes what
comes, message by message. Meta answers with the metadata it got and the time that is left, as JSON.
"""
import json
import os
import re
import socket
import sys
import time
from concurrent import futures

import grpc

ca, cert, key = sys.argv[1:4]
ledger = sys.argv[4] if len(sys.argv) > 4 else None
read = lambda path: open(path, "rb").read()


def cut(context):
    """Ends the connection of a call; grpcio has no means of its own."""
    port = int(re.search(r":(\d+)$", context.peer()).group(1))
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family in (socket.AF_INET, socket.AF_INET6) and one.getpeername()[1] == port:
                    one.shutdown(socket.SHUT_RDWR)
        except OSError:
            # No socket, not connected, or closed meanwhile.
            continue
    # No answer may leave before the peer has seen the end.
    time.sleep(0.5)


def unary(request, context):
    if ledger is not None:
        handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, request[2:] + b"\n")
        os.close(handle)
        if request.endswith(b"!"):
            cut(context)
        if request.endswith(b"?"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "paid, and then unavailable")
        if request.endswith(b"#"):
            os._exit(1)
        # A crash between the payment and its receipt must be possible.
        time.sleep(0.003)
    return request


def meta(request, context):
    got = {name: str(value) for name, value in context.invocation_metadata()}
    return json.dumps({"metadata": got, "left": context.time_remaining()}).encode()


def bidi(requests, context):
    for request in requests:
        yield request


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/demo.v1.Echo/Unary":
            return grpc.unary_unary_rpc_method_handler(unary)
        if details.method == "/demo.v1.Echo/Meta":
            return grpc.unary_unary_rpc_method_handler(meta)
        if details.method == "/demo.v1.Echo/Bidi":
            return grpc.stream_stream_rpc_method_handler(bidi)
        return None


server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((Echo(),))
credentials = grpc.ssl_server_credentials([(read(key), read(cert))], read(ca), require_client_auth=True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(port, flush=True)
server.wait_for_termination()
