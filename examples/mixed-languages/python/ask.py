"""Calls a service of the mesh over mTLS, with nothing but Python's own library.

    ask.py DIR PORT PATH        DIR holds svid.pem, key.pem and bundle.pem
"""
import http.client
import ssl
import sys

directory, port, path = sys.argv[1:]

# #region call
context = ssl.create_default_context(cafile=f"{directory}/bundle.pem")
context.load_cert_chain(f"{directory}/svid.pem", f"{directory}/key.pem")
# Python compares DNS names, not SPIFFE IDs: certificates of the dev CA carry "localhost" for such programs.
connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=10)
connection.request("GET", path)
reply = connection.getresponse()
# #endregion
print(reply.status, reply.read().decode().strip())
