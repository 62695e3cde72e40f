"""aiosmtplib: `by_aiosmtplib PORT CONNECTIONS MAILS SIZE`: one mail, composed before, by `sendmail`, over connections kept open."""

import asyncio
import sys

import aiosmtplib

from tests.bench.senders import measured

port, connections, mails, size = map(int, sys.argv[1:])
CONTENT = b"Subject: Tu credencial\r\n\r\n" + (b"x" * 74 + b"\r\n") * (size // 76)


async def line(count: int) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        for _ in range(count):
            await client.sendmail("red@example.org", ["ana@example.org"], CONTENT)


async def main() -> None:
    await asyncio.gather(*(line(mails // connections) for _ in range(connections)))


measured(lambda: asyncio.run(main()))
