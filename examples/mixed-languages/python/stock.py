"""A service in Python that the mesh calls: mTLS, and an answer that names the caller.

    stock.py DIR        DIR holds svid.pem, key.pem and bundle.pem; prints its port
"""
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

directory = sys.argv[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        names = self.connection.getpeercert()["subjectAltName"]
        caller = next(value for kind, value in names if kind == "URI")
        body = f"3 left of {self.path}, asked by {caller}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# #region serve
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{directory}/bundle.pem")
context.load_cert_chain(f"{directory}/svid.pem", f"{directory}/key.pem")
# Without this anybody may call: Python asks a client for no certificate by default.
context.verify_mode = ssl.CERT_REQUIRED
context.minimum_version = ssl.TLSVersion.TLSv1_3
# #endregion
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
