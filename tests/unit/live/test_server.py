"""Who may connect to the hub: by Origin and by Host, as a browser would say them."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from rtap_lab.live.hub import Hub
from rtap_lab.live.server import LiveServer
from rtap_lab.stack.process import free_port


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:5006"}, True),
        ({"Origin": "http://localhost:8888"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://127.0.0.1.evil.example"}, False),
        ({"Origin": "http://evil.example/127.0.0.1"}, False),
        ({"Host": "evil.example:8080"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": "localhost:1"}, True),
        ({"Host": "evil.example", "Origin": "http://localhost"}, False),
    ],
)
def test_a_page_of_another_site_is_refused_under_any_name(headers: dict[str, str], allowed: bool) -> None:
    port = free_port()

    async def attempt() -> bool:
        server = LiveServer(Hub("a hub"), "secret")
        await server.start(port)
        try:
            connection = connect(f"ws://127.0.0.1:{port}", additional_headers=headers, proxy=None)
            if "Host" in headers:  # the library writes one of its own
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
                lines |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers}
                text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
                writer.write(f"GET / HTTP/1.1\r\n{text}\r\n".encode())
                answer = await reader.readline()
                writer.close()
                return b"101" in answer
            async with connection:
                return True
        except InvalidStatus as error:
            return error.response.status_code != 403
        finally:
            await server.stop()

    assert asyncio.run(attempt()) is allowed
