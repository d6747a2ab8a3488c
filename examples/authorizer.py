"""An authorizer function of the mode AWS_LAMBDA: who may come in by which token. See docs/authorization.md.

In Fanout's process, named in the configuration file:

    [lambda_authorizer]
    function = "examples.authorizer:authorize"

Or on its own, `python examples/authorizer.py`, for `url = "http://127.0.0.1:8090/"`. As a function in AWS it is
`lambda event, context: authorize(event)`.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TENANTS = {"token-of-ann": "red", "token-of-bob": "blue"}


def authorize(event: dict) -> dict:
    """AppSync's request in, AppSync's answer out."""
    tenant = TENANTS.get(event["authorizationToken"])
    if tenant is None:
        return {"isAuthorized": False}
    return {
        "isAuthorized": True,
        "resolverContext": {"tenant": tenant},  # "$identity.resolverContext.tenant" in filter templates
        "deniedFields": ["Mutation.deleteMessage"],
        "ttlOverride": 60,
    }


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(authorize(event)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8090), Handler).serve_forever()
