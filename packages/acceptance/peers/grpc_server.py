"""A grpcio server over mTLS that echoes demo.v1.Echo/Unary; prints its port.

    grpc_server.py CA CERT KEY
"""
import sys
from concurrent import futures

import grpc

ca, cert, key = sys.argv[1:]
read = lambda path: open(path, "rb").read()


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method != "/demo.v1.Echo/Unary":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((Echo(),))
credentials = grpc.ssl_server_credentials([(read(key), read(cert))], read(ca), require_client_auth=True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(port, flush=True)
server.wait_for_termination()
