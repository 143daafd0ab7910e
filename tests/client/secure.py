"""Certificates as real as any, and a server that takes TLS off what goes to another one."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

import trustme

from taskqueuex.client import TLS


class Certificates:
    """Of one authority: what a server shows, what a client trusts and shows. Files are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = str(directory / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.certificate = str(directory / "server.pem")
        self.key = str(directory / "server.key")
        self.write(self.authority.issue_cert("localhost", "127.0.0.1", "::1"), "server")

    def write(self, issued: trustme.LeafCert, name: str) -> tuple[str, str]:
        """The files of a certificate and its key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        return str(certificate), str(key)

    @property
    def trust(self) -> TLS:
        """For clients that trust the authority."""
        return TLS(ca=self.ca)

    def of_client(self, name: str = "worker", **subject: str) -> TLS:
        """For clients that show a certificate of their own."""
        certificate, key = self.write(self.authority.issue_cert(name, common_name=name, **subject), name)
        return TLS(ca=self.ca, certificate=certificate, key=key)

    def context(self, *names: str, wants_certificate: bool = False) -> ssl.SSLContext:
        """For a server with the usual certificate, or one for other names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        if names:
            self.authority.issue_cert(*names).configure_cert(context)
        else:
            context.load_cert_chain(self.certificate, self.key)
        if wants_certificate:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TlsFront:
    """Takes connections over TLS, and passes their bytes on to a plain port; both ways until one end ends.

    `alpn` and `certificates` are those of the connections so far.
    """

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._to = port
        self._ready = threading.Event()
        self.alpn: list[str | None] = []
        self.certificates: list[object] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._ready.wait()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # handshakes that fail are expected
        self._closed = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closed.wait()
        server.close()
        for each in self._under_way:
            each.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        self.alpn.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        self.certificates.append(writer.get_extra_info("peercert"))
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(_abort, writer)
            with contextlib.suppress(OSError):  # either end may go at any time
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
                ends.push_async_callback(_abort, to_server)
                ways = (_pass_on(reader, to_server), _pass_on(from_server, writer))
                tasks = [asyncio.ensure_future(each) for each in ways]
                ends.callback(lambda: [each.cancel() for each in tasks])
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                writer.close()
                await writer.wait_closed()


async def _abort(end: asyncio.StreamWriter) -> None:
    end.transport.abort()
    with contextlib.suppress(OSError):  # what it ended with
        await end.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
