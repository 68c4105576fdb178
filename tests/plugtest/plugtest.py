"""Runs every case with every client that can, over a network as lossy as the case allows, and holds the table of
docs/coap.md and the one of README.md against what came of it; with `--write` it writes them. Words choose cases, such as
`OBS_13 openssl 50`. Not here: cases, clients, the network."""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cases
from clients import PATIENCE, Aiocoap, Libcoap, Server
from relay import Relay

ROOT = Path(__file__).resolve().parents[2]
# Runs at a time; they mostly wait.
AT_ONCE = 64
CLIENTS = [
    Libcoap("coap-client-notls", "coap"),
    Libcoap("coap-client-openssl", "coaps"),
    Libcoap("coap-client-gnutls", "coaps"),
    Aiocoap(),
]
HEADS = ["libcoap, UDP", "libcoap, DTLS of OpenSSL", "libcoap, DTLS of GnuTLS", "aiocoap, UDP"]
GROUPS = [("CORE", "messages, methods, options"), ("BLOCK", "blocks"), ("OBS", "observation"), ("LINK", "discovery"), ("DTLS", "DTLS")]


class Run:
    """One case with one client at one loss, with a server of its own."""

    def __init__(self, case, client, loss, program, keys):
        self.case, self.client, self.loss, self.program, self.keys = case, client, loss, program, keys
        self.asked, self.taken = [], []

    async def go(self):
        """None when it passes, or why it does not."""
        raw = [self.keys["server"], self.keys["trusted"]] if self.case.raw_keys else []
        self.server = await Server.start(self.program, self.client.scheme, self.case.timeout, raw)
        self.relay = Relay(self.server.port, self.loss, f"{self.case.name} {self.client.name} {self.loss}")
        self.port = await self.relay.start()
        try:
            await asyncio.wait_for(self.case.act(self), PATIENCE + 20)
            await self.server.end()
            for method, times in self.taken:
                got = [line for line in self.server.said if line.startswith(f"request {method} ")]
                cases.expect(len(got), times, f"how often {method} was taken")
            return None
        except (AssertionError, TimeoutError, asyncio.TimeoutError, KeyError, IndexError) as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:
            if type(error).__module__.startswith("aiocoap"):
                return f"{type(error).__name__}: {error}"
            raise
        finally:
            self.server.kill()
            self.relay.close()

    async def ask(self, ask):
        """The answer, with what was said on the way."""
        before = len(self.relay.messages)
        got = await self.client.ask(self.port, ask)
        got.lossy = self.loss > 0
        got.messages = got.messages or self.relay.messages[before:]
        self.asked.append(got)
        return got

    def begin(self, ask):
        return asyncio.create_task(self.ask(ask))

    async def other(self, ask):
        """Another client asks, past the relay."""
        return await self.client.ask(self.server.port, ask)

    def took(self, method, times):
        """The server's application shall have got that request so often when it ends."""
        self.taken.append((method, times))

    def talk(self):
        """What helps to see why it failed."""
        lines = [*self.server.said[-12:]]
        for got in self.asked:
            lines += [str(message) for message in got.messages[-24:]] + got.log.splitlines()[-30:]
        return "\n".join(f"    {line}" for line in lines)


def make_keys(folder):
    """Raw keys of the server, of a device that it trusts, and of one that it does not."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ["server", "device", "thief"]:
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.pem")
    openssl("pkcs8", "-topk8", "-nocrypt", "-in", "server.pem", "-outform", "DER", "-out", "server.p8")
    openssl("pkey", "-in", "device.pem", "-pubout", "-outform", "DER", "-out", "trusted.spki")
    for name in ["device", "thief"]:
        # coap-client wants both halves in one file.
        openssl("pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
        private, public = (Path(folder, f"{name}.{end}") for end in ["pem", "pub"])
        Path(folder, f"{name}.both").write_text(public.read_text() + private.read_text())
    return {
        "server": f"{folder}/server.p8",
        "trusted": f"{folder}/trusted.spki",
        "device": f"{folder}/device.both",
        "thief": f"{folder}/thief.both",
    }


async def run_all(program, words, clients, keys):
    """What came of each: case, client and loss, and why it did not pass."""
    at_once, outcomes = asyncio.Semaphore(AT_ONCE), {}

    async def one(case, client, loss):
        async with at_once:
            begun = time.monotonic()
            run = Run(case, client, loss, program, keys)
            why = await run.go()
            outcomes[case.name, client.name, loss] = why
            if why:
                print(f"FAILED {case.name} {client.name} {loss} % ({time.monotonic() - begun:.0f} s): {why}\n{run.talk()}", flush=True)
            elif words:
                print(f"passed {case.name} {client.name} {loss} % ({time.monotonic() - begun:.0f} s, {run.relay.dropped} lost)")

    def chosen(case, client, loss):
        here = {*case.name.split("TD_COAP_"), case.name.split("_")[2], client.name, str(loss)}
        return all(word in here for word in words)

    runs = [
        one(case, client, loss)
        for loss in sorted(cases.LOSSES, reverse=True)
        for case in cases.CASES
        for client in clients
        if client.name in case.clients and loss in case.losses_of(client) and chosen(case, client, loss)
    ]
    await asyncio.gather(*runs)
    return outcomes


def cell(outcomes, case, client):
    """The losses at which it passed."""
    if client.name not in case.clients:
        return "–"
    losses = case.losses_of(client)
    failed = [loss for loss in losses if outcomes.get((case.name, client.name, loss))]
    passed = ", ".join(str(loss) for loss in losses if loss not in failed)
    return passed if not failed else f"{passed} FAILED at {', '.join(map(str, failed))}".strip()


def rows(outcomes):
    """The table of docs/coap.md."""
    yield ["TD_COAP_", "", *HEADS]
    for case in cases.CASES:
        yield [case.name.removeprefix("TD_COAP_"), case.what, *(cell(outcomes, case, client) for client in CLIENTS)]


def sums(outcomes):
    """The table of README.md."""
    yield ["plugtest cases", *HEADS]
    for group, what in GROUPS:
        line = [f"{group}: {what}"]
        for client in CLIENTS:
            own = [case for case in cases.CASES if f"_{group}_" in case.name and client.name in case.clients]
            good = [case for case in own if not any(outcomes.get((case.name, client.name, loss)) for loss in case.losses_of(client))]
            line.append(f"{len(good)} of {len(own)}" if own else "–")
        yield line


def markdown(table):
    head, *rest = table
    lines = [head, ["---"] * len(head), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def between(path, table, write):
    """Whether the file holds the table between its marks."""
    begin, end = "<!-- plugtest: written by tests/plugtest/run --write -->\n", "<!-- end of plugtest -->"
    text = path.read_text()
    before, found, rest = text.partition(begin)
    assert found and end in rest, f"{path} has no place for the table"
    held, after = rest.split(end, 1)
    if write:
        path.write_text(before + begin + table + end + after)
    return write or held == table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--without-aiocoap", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    clients = [client for client in CLIENTS if not (options.without_aiocoap and client.name == "aiocoap")]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = asyncio.run(run_all(options.server, options.words, clients, make_keys(folder)))
    failed = sum(why is not None for why in outcomes.values())
    print(f"{len(outcomes)} runs in {time.monotonic() - begun:.0f} s, {failed} failed")
    if options.words or options.without_aiocoap:
        return failed > 0
    tables = [(ROOT / "docs/coap.md", markdown(rows(outcomes))), (ROOT / "README.md", markdown(sums(outcomes)))]
    print(tables[0][1])
    for path, table in tables:
        if not between(path, table, options.write):
            print(f"{path} says something else: tests/plugtest/run --write")
            failed += 1
    return failed > 0


sys.exit(main())
