"""The lightest introspection endpoint: one fixed answer to any POST, no state but a count.

It serves the listening socket whose number is its first argument, over TLS if a file with a
certificate and its key follows. A GET tells how many connections were opened up to now.
"""

import asyncio
import json
import re
import socket
import ssl
import sys
import time

ACTIVE = {
    "active": True,
    "sub": "1",
    "exp": int(time.time()) + 86400,
    "urn:zitadel:iam:org:project:roles": {"read:messages": {"1": "zitadel.localhost"}},
}
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def answer(content: object) -> bytes:
    """Return the whole HTTP answer that carries `content` as JSON."""
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Endpoint(asyncio.Protocol):
    """One connection, open for as long as the other side wants it."""

    connections = 0
    active = answer(ACTIVE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        assert isinstance(transport, asyncio.Transport)
        Endpoint.connections += 1
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if end and len(body) == int(length[1] if length else 0):
            self._received = b""
            is_post = head.startswith(b"POST")
            self._transport.write(self.active if is_post else answer(Endpoint.connections))


async def serve(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Endpoint, sock=listener, ssl=tls)
    await server.serve_forever()


if __name__ == "__main__":
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2])
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), tls))
