"""The clients of others, each behind the same question: libcoap's coap-client as a process, aiocoap as a library. Not here:
what is asked."""

import asyncio
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from relay import DOWN, UP, Message

IDENTITY, KEY = "password", "sesame"
# Seconds that any question may take, and a client waits for its last answer.
PATIENCE = 110
NUMBERS = {"if_match": 1, "etag": 4, "if_none_match": 5}
METHODS = {"0.01": "GET", "0.02": "POST", "0.03": "PUT", "0.04": "DELETE"}


@dataclass
class Ask:
    """A request. `observe` is for how many seconds, `ping` whether to ping meanwhile; `key` another key than the right one;
    `patience` seconds; `again` whether to ask another time, without observing, while observing."""

    method: str
    path: str
    body: bytes = b""
    format: int | None = None
    accept: int | None = None
    etag: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    non: bool = False
    token: str | None = None
    block: int | None = None
    observe: float | None = None
    ping: bool = False
    key: str | None = None
    raw_key: str | None = None
    patience: int = PATIENCE - 10
    again: bool = False


@dataclass
class Got:
    """What came back: the answer (or the last notification), and all messages."""

    code: str = ""
    body: bytes = b""
    options: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)
    # Answer and notifications of an observation: code and body.
    states: list = field(default_factory=list)
    log: str = ""
    lossy: bool = False

    def of(self, way, *codes):
        return [message for message in self.messages if message.way == way and message.code in codes]

    def kinds(self):
        """The kinds of the first request and of the last response."""
        first = next((m.kind for m in self.messages if m.way == UP and m.code in METHODS), None)
        last = [m.kind for m in self.messages if m.way == DOWN and "2.00" < m.code < "6" and m.code != "2.31"]
        return f"{first} {last[-1] if last else None}"


class Libcoap:
    """coap-client with its talk at the level at which it shows every message."""

    MESSAGE = re.compile(
        r"^v:1 t:(\w+) c:([\w.]+) i:([0-9a-f]{4}) \{([0-9a-f]*)\} \[ ?(.*?) ?\](?: :: (.*))?$", re.MULTILINE
    )

    def __init__(self, program, scheme):
        self.name, self.program, self.scheme = program.removeprefix("coap-client-"), program, scheme

    async def ask(self, port, ask):
        with tempfile.TemporaryDirectory() as folder:
            return await self.ask_in(Path(folder), port, ask)

    async def ask_in(self, folder, port, ask):
        out = folder / "out"
        line = ["-v", "7", "-B", str(ask.patience), "-o", str(out), "-m", ask.method.lower()]
        if self.scheme == "coaps" and ask.raw_key:
            line += ["-M", ask.raw_key]
        elif self.scheme == "coaps":
            line += ["-u", IDENTITY, "-k", ask.key or KEY]
        if ask.body:
            (folder / "in").write_bytes(ask.body)
            line += ["-f", str(folder / "in")]
        for option, value in [("-t", ask.format), ("-A", ask.accept), ("-b", ask.block), ("-T", ask.token)]:
            line += [option, str(value)] if value is not None else []
        for name, number in NUMBERS.items():
            value = getattr(ask, name)
            line += ["-O", f"{number},{value and '0x' + value}"] if value is not None else []
        line += ["-N"] if ask.non else []
        line += ["-K", "1"] if ask.ping else []
        line += ["-s", str(int(ask.observe))] if ask.observe else []
        process = await asyncio.create_subprocess_exec(
            self.program,
            *line,
            f"{self.scheme}://127.0.0.1:{port}/{ask.path}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            log = await asyncio.wait_for(process.stdout.read(), PATIENCE)
        except BaseException:
            process.kill()
            raise
        finally:
            await process.wait()
        body = out.read_bytes() if out.exists() else b""
        return self.read(log.decode(errors="replace"), body)

    def read(self, log, body):
        got, way = Got(body=body, log=log), None
        for line in log.splitlines():
            if re.search(r": (sent|received) \d+ bytes", line):
                way = UP if ": sent" in line else DOWN
            elif way and (found := self.MESSAGE.search(line)):
                kind, code, mid, token, options, payload = found.groups()
                code = {name: number for number, name in METHODS.items()}.get(code, code)
                got.messages.append(
                    Message(way, kind, code, int(mid, 16), token, self.options(options), (payload or "").strip("'"))
                )
                way = None
        answers = [m for m in got.messages if m.way == DOWN and "2.00" < m.code < "6" and m.code != "2.31"]
        if answers:
            got.code, got.options = answers[-1].code, answers[-1].options
        got.states = [(m.code, m.payload) for m in answers if "Observe" in m.options or m.code > "4"]
        return got

    @staticmethod
    def options(text):
        options = {}
        for part in filter(None, text.split(", ")):
            name, _, value = part.partition(":")
            options.setdefault(name, []).append(value)
        return options


class Aiocoap:
    """aiocoap over plain UDP: its DTLS is another library's."""

    name, scheme = "aiocoap", "coap"

    async def ask(self, port, ask):
        import aiocoap

        context = await aiocoap.Context.create_client_context(transports=["udp6"])
        try:
            return await asyncio.wait_for(self.ask_with(context, aiocoap, port, ask), PATIENCE)
        finally:
            await context.shutdown()

    async def ask_with(self, context, aiocoap, port, ask):
        message = aiocoap.Message(
            code=getattr(aiocoap, ask.method),
            uri=f"coap://127.0.0.1:{port}/{ask.path}",
            payload=ask.body,
            transport_tuning=aiocoap.Unreliable() if ask.non else aiocoap.Reliable(),
        )
        if ask.format is not None:
            message.opt.content_format = ask.format
        if ask.accept is not None:
            message.opt.accept = ask.accept
        if ask.etag is not None:
            message.opt.etags = [bytes.fromhex(ask.etag)]
        if ask.if_match is not None:
            message.opt.if_match = [bytes.fromhex(ask.if_match)]
        if ask.if_none_match is not None:
            message.opt.if_none_match = True
        if ask.block is not None:
            size = ask.block.bit_length() - 5
            message.opt.block2 = None if ask.body else (0, False, size)
        if ask.observe:
            message.opt.observe = 0
        if ask.token is not None:
            for interface in context.request_interfaces:
                interface.next_token = lambda: ask.token.encode()
        request = context.request(message)
        response = await request.response
        got = Got()
        self.state(got, response)
        if ask.again:
            other = aiocoap.Message(code=aiocoap.GET, uri=message.get_request_uri())
            await context.request(other).response
        if ask.observe:
            await self.observe(request, ask, got)
        return got

    async def observe(self, request, ask, got):
        async def states():
            async for state in request.observation:
                self.state(got, state)

        try:
            await asyncio.wait_for(states(), ask.observe)
        except TimeoutError:
            pass
        except Exception as error:
            # An error as a notification, which ends it.
            got.log += f"{type(error).__name__}: {error}\n"
            response = getattr(error, "response", None) or getattr(error, "message", None)
            if hasattr(response, "code"):
                self.state(got, response)
        if not request.observation.cancelled:
            request.observation.cancel()
            # What comes now is reset.
            await asyncio.sleep(2)

    @staticmethod
    def state(got, response):
        got.code, got.body = response.code.dotted, response.payload
        got.states.append((got.code, response.payload.decode()))
        etag = response.opt.etag
        got.options = {
            "Content-Format": [str(int(response.opt.content_format))] if response.opt.content_format is not None else [],
            "Location-Path": list(response.opt.location_path),
            "Location-Query": list(response.opt.location_query),
            "ETag": [f"0x{etag.hex()}"] if etag else [],
        }


class Server:
    """The process of the server, and what it says."""

    @classmethod
    async def start(cls, program, scheme, timeout, raw_keys):
        self = cls()
        self.said, self.news = [], asyncio.Condition()
        self.process = await asyncio.create_subprocess_exec(
            program, scheme, str(timeout), *raw_keys, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self.reader = asyncio.create_task(self.read())
        self.port = int((await self.saying("ready")).split()[1])
        return self

    async def read(self):
        while line := await self.process.stdout.readline():
            async with self.news:
                self.said.append(line.decode().strip())
                self.news.notify_all()

    async def saying(self, text, bound=PATIENCE):
        """The first line with that text."""

        async def line():
            async with self.news:
                await self.news.wait_for(lambda: any(text in line for line in self.said))

        await asyncio.wait_for(line(), bound)
        return next(line for line in self.said if text in line)

    async def end(self):
        """It has said all; how often it took a request of that kind can be counted now."""
        self.process.stdin.close()
        await asyncio.wait_for(self.reader, 20)
        assert await asyncio.wait_for(self.process.wait(), 20) == 0, "the server failed"

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
