"""An HTTP/1.1 server over mTLS that writes payments into a file which its replicas share; prints its port.

    ledger.py CA CERT KEY LEDGER

What it does with a request is its mode, changed by `PUT /mode` with a text:
    ok                 answers
    fail               answers 503 to everything but /mode and /seen
    nack               answers 503 and says, in every dialect, that it processed nothing
    big                answers 503 with 200,000 bytes
    half               answers 503 to every second request
    slow:MS            waits before it answers
    reset:BYTES        reads so much of a body and resets the connection
`POST /payments` appends its body as a line to LEDGER before it answers. A body that ends in a mark is paid, and then
    !                  the connection is reset
    ?                  the answer is 503
    #                  the process ends
`GET /seen` counts requests, by mode.
"""
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ca, cert, key, ledger = sys.argv[1:]
state = {"mode": "ok", "seen": 0, "headers": {}}
lock = threading.Lock()


class Reset(Exception):
    pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120

    def setup(self):
        self.request.do_handshake()
        super().setup()

    def body(self, limit=None):
        """Yields what the request carries; resets the connection after `limit` bytes."""
        read = 0
        for part in self.parts():
            read += len(part)
            if limit is not None and read >= limit:
                raise Reset()
            yield part

    def parts(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                part = self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return
                yield part
        left = int(self.headers.get("content-length") or 0)
        while left > 0:
            part = self.rfile.read(min(left, 4096))
            if not part:
                return
            left -= len(part)
            yield part

    def answer(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        # In one piece: a replica that is killed has answered, or it has not.
        self._headers_buffer.append(b"\r\n" + data)
        self.flush_headers()

    def reset(self):
        raw = self.connection.detach() if hasattr(self.connection, "detach") else self.connection.fileno()
        plain = socket.socket(fileno=raw)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()
        self.close_connection = True

    def handle_any(self):
        if self.path == "/mode":
            state["mode"] = b"".join(self.body()).decode()
            return self.answer(200, {})
        if self.path == "/seen":
            return self.answer(200, {"pid": os.getpid(), "seen": state["seen"], "headers": state["headers"]})
        with lock:
            state["seen"] += 1
            seen = state["seen"]
        state["headers"] = {name.lower(): value for name, value in self.headers.items()}
        mode, _, argument = state["mode"].partition(":")
        limit = int(argument) if mode == "reset" else None
        digest = hashlib.sha256()
        length = 0
        keep = b""
        for part in self.body(limit):
            digest.update(part)
            length += len(part)
            keep = (keep + part)[:256]
        if mode == "reset":
            raise Reset()
        if mode == "slow":
            time.sleep(int(argument) / 1000)
        if mode == "fail" or (mode == "half" and seen % 2 == 0):
            return self.answer(503, {"error": "unavailable"})
        if mode == "nack":
            marks = {"x_inmesh_nack": "1", "finagle_http_nack": "true", "retry_after": "0"}
            return self.answer(503, {"error": "not processed"}, **marks)
        if mode == "big":
            return self.answer(503, b"x" * 200000)
        if self.command == "POST":
            handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, keep + b"\n")
            os.close(handle)
            if keep.endswith(b"!"):
                raise Reset()
            if keep.endswith(b"?"):
                return self.answer(503, {"error": "unavailable"})
            if keep.endswith(b"#"):
                os._exit(1)
            # A crash between the payment and its receipt must be possible.
            time.sleep(0.003)
        return self.answer(200, {"pid": os.getpid(), "length": length, "sha256": digest.hexdigest()})

    def guarded(self):
        try:
            self.handle_any()
        except Reset:
            self.reset()

    do_GET = do_POST = do_PUT = guarded

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(cert, key)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_REQUIRED
context.set_alpn_protocols(["http/1.1"])
server = Server(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
