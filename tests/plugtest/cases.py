"""The cases of the ETSI/IETF plugtests (td-coap4, CoAP#4 2014), each a question or several to one server and what has to come
of it. Not here: how clients ask, how datagrams get lost."""

import re
from dataclasses import dataclass
from typing import Callable

from clients import Ask
from relay import DOWN, UP

# Of the server's resources.
LARGE = "".join(f"line {line:>10}\n" for line in range(80))
UPLOAD = "".join(f"part {line:>10}\n" for line in range(80)).encode()
ALL = ("notls", "openssl", "gnutls", "aiocoap")
LIBCOAP = ("notls", "openssl", "gnutls")
# Confirmable messages get through these, per cent of all datagrams; others only without.
LOSSES, NONE, LOSSY = (0, 20, 50), (0,), (20, 50)


@dataclass
class Case:
    name: str
    what: str
    act: Callable
    clients: tuple = ALL
    losses: tuple = LOSSES
    timeout: int = 2000
    raw_keys: bool = False
    # Over UDP, where answers come in small blocks, it would take minutes with losses.
    long: bool = False

    def losses_of(self, client):
        return NONE if self.long and client.scheme == "coap" else self.losses


CASES = []


def case(name, what, **more):
    def add(act):
        CASES.append(Case(f"TD_COAP_{name}", what, act, **more))
        return act

    return add


def expect(found, wanted, of):
    assert found == wanted, f"{of} is {found!r}, not {wanted!r}"


def simple(got, code, kinds, body=None):
    expect(got.code, code, "the code")
    expect(got.kinds(), kinds, "request and response")
    if body is not None:
        expect(got.body, body, "the body")


def methods(first, non):
    """01 to 04, or the same non-confirmable."""
    more = {"losses": NONE} if non else {}
    kinds = "NON NON" if non else "CON ACK"
    for number, (method, code) in enumerate(
        [("GET", "2.05"), ("DELETE", "2.02"), ("PUT", "2.04"), ("POST", "2.01")], first
    ):

        async def act(run, method=method, code=code):
            body = b"a body" if method in ("PUT", "POST") else b""
            got = await run.ask(Ask(method, "test", body=body, format=0 if body else None, non=non))
            simple(got, code, kinds, b"a test" if method == "GET" else None)
            run.took(method, 1)

        case(f"CORE_{number:02}", f"{method} {kinds.split()[0]}", **more)(act)


methods(1, False)
methods(5, True)


@case("CORE_09", "separate response")
async def core_09(run):
    got = await run.ask(Ask("GET", "separate"))
    separate(got)
    run.took("GET", 1)


def separate(got):
    simple(got, "2.05", "CON CON", b"slow")
    assert got.of(DOWN, "0.00") or got.lossy, "no empty acknowledgement"
    assert [m for m in got.of(UP, "0.00") if m.kind == "ACK"], "the response was not acknowledged"


@case("CORE_10", "token")
async def core_10(run):
    got = await run.ask(Ask("GET", "test", token="tok"))
    simple(got, "2.05", "CON ACK", b"a test")
    token(got)


def token(got):
    tokens = {m.token for m in got.messages if m.code != "0.00"}
    expect(len(tokens), 1, "the number of tokens")
    assert tokens != {""}, "the token is empty"


@case("CORE_11", "token, separate response")
async def core_11(run):
    got = await run.ask(Ask("GET", "separate", token="tok"))
    separate(got)
    token(got)


@case("CORE_12", "empty token", clients=("aiocoap",))
async def core_12(run):
    got = await run.ask(Ask("GET", "test", token=""))
    simple(got, "2.05", "CON ACK", b"a test")
    expect({m.token for m in got.messages}, {""}, "the tokens")


@case("CORE_13", "several Uri-Path")
async def core_13(run):
    simple(await run.ask(Ask("GET", "seg1/seg2/seg3")), "2.05", "CON ACK", b"three segments")


@case("CORE_14", "several Uri-Query")
async def core_14(run):
    query = "first=1&second=2&third=3"
    simple(await run.ask(Ask("GET", f"query?{query}")), "2.05", "CON ACK", query.encode())


@case("CORE_15", "lossy, piggybacked", losses=LOSSY)
async def core_15(run):
    for _ in range(3):
        simple(await run.ask(Ask("GET", "test")), "2.05", "CON ACK", b"a test")
    run.took("GET", 3)


@case("CORE_16", "lossy, separate response", losses=LOSSY)
async def core_16(run):
    separate(await run.ask(Ask("GET", "separate")))
    run.took("GET", 1)


@case("CORE_17", "separate response NON", losses=NONE)
async def core_17(run):
    simple(await run.ask(Ask("GET", "separate", non=True)), "2.05", "NON NON", b"slow")


@case("CORE_18", "Location-Path")
async def core_18(run):
    got = await run.ask(Ask("POST", "test", body=b"new", format=0))
    expect(got.code, "2.01", "the code")
    expect(got.options["Location-Path"], ["location1", "location2", "location3"], "Location-Path")


@case("CORE_19", "Location-Query")
async def core_19(run):
    got = await run.ask(Ask("POST", "location-query", body=b"new", format=0))
    expect(got.code, "2.01", "the code")
    expect(got.options["Location-Query"], ["first=1", "second=2"], "Location-Query")


@case("CORE_20", "Accept")
async def core_20(run):
    for accept, code, body in [(0, "2.05", b"text"), (41, "2.05", b"<text/>"), (50, "4.06", None)]:
        simple(await run.ask(Ask("GET", "multi-format", accept=accept)), code, "CON ACK", body)


async def tag(run):
    got = await run.ask(Ask("GET", "validate"))
    expect(got.code, "2.05", "the code")
    return got.options["ETag"][0].removeprefix("0x")


@case("CORE_21", "ETag, validated")
async def core_21(run):
    first = await tag(run)
    simple(await run.ask(Ask("GET", "validate", etag=first)), "2.03", "CON ACK", b"")


@case("CORE_22", "ETag and If-Match, with a change")
async def core_22(run):
    first = await tag(run)
    simple(await run.ask(Ask("PUT", "validate", body=b"second", format=0, if_match=first)), "2.04", "CON ACK")
    simple(await run.ask(Ask("GET", "validate", etag=first)), "2.05", "CON ACK", b"second")
    simple(await run.ask(Ask("PUT", "validate", body=b"third", format=0, if_match=first)), "4.12", "CON ACK")


@case("CORE_23", "If-None-Match")
async def core_23(run):
    for code in ["2.01", "4.12"]:
        got = await run.ask(Ask("PUT", "create1", body=b"new", format=0, if_none_match=""))
        simple(got, code, "CON ACK")


@case("CORE_31", "ping", clients=LIBCOAP, losses=NONE)
async def core_31(run):
    got = await run.ask(Ask("GET", "separate", ping=True))
    pings = {m.mid for m in got.of(UP, "0.00") if m.kind == "CON"}
    assert pings and pings <= {m.mid for m in got.of(DOWN, "0.00") if m.kind == "RST"}, "a ping has no pong"


@case("BLOCK_01", "GET, early negotiation", losses=(0, 20), long=True)
async def block_01(run):
    got = await run.ask(Ask("GET", "large", block=64))
    large(got)
    blocks(run, got, "Block2", 64)


@case("BLOCK_02", "GET, late negotiation", losses=(0, 20), long=True)
async def block_02(run):
    large(await run.ask(Ask("GET", "large")))


def large(got):
    expect(got.code, "2.05", "the code")
    expect(got.body.decode(), LARGE, "the body")


def blocks(run, got, name, most):
    """Blocks have that size at most; of aiocoap the options are not seen."""
    sizes = [int(found) for m in got.messages for found in re.findall(r"/(\d+)$", "".join(m.options.get(name, [])))]
    assert run.client.name == "aiocoap" or sizes and max(sizes) <= most, f"{name} of {sizes}"


async def upload(run, method, path, code):
    got = await run.ask(Ask(method, path, body=UPLOAD, format=0, block=512))
    expect(got.code, code, "the code")
    run.took(method, 1)
    return got


@case("BLOCK_03", "PUT")
async def block_03(run):
    blocks(run, await upload(run, "PUT", "large-update", "2.04"), "Block1", 512)
    expect((await run.other(Ask("GET", "large-update"))).body, UPLOAD, "what is there")


@case("BLOCK_04", "POST that creates")
async def block_04(run):
    got = await upload(run, "POST", "large-create", "2.01")
    expect(got.options["Location-Path"], ["large-create", "1"], "Location-Path")
    expect((await run.other(Ask("GET", "large-create/1"))).body, UPLOAD, "what is there")


@case("BLOCK_05", "POST, both ways", losses=(0, 20), long=True)
async def block_05(run):
    got = await upload(run, "POST", "large-post", "2.04")
    expect(got.body, UPLOAD.upper(), "the body")


@case("BLOCK_06", "GET in blocks of 16 bytes", losses=NONE)
async def block_06(run):
    got = await run.ask(Ask("GET", "large", block=16))
    large(got)
    blocks(run, got, "Block2", 16)


def observed(got, kind, least=2):
    notified = [m for m in got.of(DOWN, "2.05") if m.kind == kind and m.code == "2.05"]
    assert len(notified) >= least, f"{len(notified)} notifications"
    assert len({state for _, state in got.states}) > least, f"states are {got.states}"
    return notified


@case("OBS_01", "observe, CON", losses=NONE)
async def obs_01(run):
    got = await run.ask(Ask("GET", "obs", observe=4))
    notified = {m.mid for m in observed(got, "CON")}
    # Of what comes after the end of the observation, aiocoap says so.
    heard = {m.mid for m in got.of(UP, "0.00") if m.kind == "ACK" or m.kind == "RST" and run.client.name == "aiocoap"}
    assert notified <= heard, "not all are acknowledged"


@case("OBS_02", "observe, NON", losses=NONE)
async def obs_02(run):
    observed(await run.ask(Ask("GET", "obs-non", observe=4)), "NON")


@case("OBS_04", "the client sees by Max-Age that it observes no longer", clients=())
async def obs_04(run):
    raise AssertionError("a case of the client's")


@case("OBS_05", "the server sees that the client is off", losses=NONE, timeout=150)
async def obs_05(run):
    observing = run.begin(Ask("GET", "obs", observe=20))
    await run.server.saying("observation begun")
    run.relay.cut = True
    await run.server.saying("observation ended TimedOut")
    observing.cancel()


@case("OBS_06", "the client resets", clients=("aiocoap",), losses=NONE)
async def obs_06(run):
    got = await run.ask(Ask("GET", "obs", observe=3))
    assert [m for m in got.messages if m.way == UP and m.kind == "RST"], "nothing was reset"
    await run.server.saying("observation ended Reset")


@case("OBS_07", "DELETE ends observations", losses=NONE)
async def obs_07(run):
    await ended(run, Ask("DELETE", "obs"), "4.04")


async def ended(run, ask, code):
    """Another client ends an observation. What was said counts: aiocoap may lose the notification that ends it before it has
    begun to read any (`ClientObservation._Iterator`: an error takes the place of what nobody awaits yet)."""
    got = await interfered(run, ask)
    await run.server.saying("observation ended Error")
    last = [m for m in got.messages if m.way == DOWN and "2.00" < m.code < "6"][-1]
    expect(last.code, code, "the last code")


async def interfered(run, ask):
    """An observation, and another client that asks meanwhile."""
    observing = run.begin(Ask("GET", "obs", observe=6))
    await run.server.saying("observation begun")
    assert (await run.other(ask)).code.startswith("2."), "the other client was refused"
    return await observing


@case("OBS_08", "another content format ends observations", losses=NONE)
async def obs_08(run):
    await ended(run, Ask("PUT", "obs", body=b"<other/>", format=41), "4.06")


@case("OBS_09", "PUT is seen", losses=NONE)
async def obs_09(run):
    got = await interfered(run, Ask("PUT", "obs", body=b"other", format=0))
    states = [state for _, state in got.states]
    assert states[0].startswith("state") and states[-1].startswith("other"), f"states are {states}"


@case("OBS_10", "another GET of the same client ends nothing", clients=("aiocoap",), losses=NONE)
async def obs_10(run):
    got = await run.ask(Ask("GET", "obs", observe=5, again=True))
    run.took("GET", 2)
    observed(got, "CON", 3)


@case("OBS_11", "observe, lossy", losses=LOSSY)
async def obs_11(run):
    observed(await run.ask(Ask("GET", "obs", observe=25)), "CON")


@case("OBS_12", "Observe: 1 ends it", clients=LIBCOAP, losses=NONE)
async def obs_12(run):
    got = await run.ask(Ask("GET", "obs", observe=3))
    observed(got, "CON")
    await run.server.saying("observation ended Cancelled")


@case("OBS_13", "observe, large", losses=NONE)
async def obs_13(run):
    got = await run.ask(Ask("GET", "obs-large", observe=4))
    whole(got)


def whole(got):
    text = got.body.decode()
    states = set(re.findall(r"line +79\n +(\d+)\n", text)) if text.startswith(LARGE) else set()
    states |= {state for _, state in got.states if state.startswith(LARGE)}
    assert len(states) >= 2, f"{len(states)} whole states: {text[-200:]}"


@case("OBS_14", "observe, now large and now small", losses=NONE)
async def obs_14(run):
    got = await run.ask(Ask("GET", "obs-pumping", observe=5))
    expect(got.code, "2.05", "the code")
    text = got.body.decode() + "".join(state for _, state in got.states)
    assert LARGE in text, "no large state"


async def discover(run, query, *wanted):
    got = await run.ask(Ask("GET", f".well-known/core{query}"))
    expect(got.code, "2.05", "the code")
    expect(got.options["Content-Format"], ["40"] if run.client.name == "aiocoap" else ["application/link-format"], "Content-Format")
    found = re.findall(r"<(/[^>]*)>", got.body.decode())
    if wanted:
        expect(found, list(wanted), "what is found")
    return found


@case("LINK_01", "discovery", losses=(0, 20), long=True)
async def link_01(run):
    found = await discover(run, "")
    assert {"/test", "/large", "/obs", "/link1", "/path"} <= set(found), f"found {found}"


for name, what, query, wanted in [
    ("02", "filter by rt", "?rt=Type3", ["/link2"]),
    ("03", "filter by an empty prefix", "?rt=*", ["/link1", "/link2", "/link3"]),
    ("04", "filter among several rt", "?rt=Type2", ["/link1", "/link2"]),
    ("05", "filter by if and a prefix", "?if=If*", ["/link1", "/link2"]),
    ("06", "filter by sz and a prefix", "?sz=*", ["/large"]),
    ("07", "filter by href", "?href=/link1", ["/link1"]),
    ("08", "filter by href and a prefix", "?href=/link*", ["/link1", "/link2", "/link3"]),
]:

    async def link(run, query=query, wanted=wanted):
        await discover(run, query, *wanted)

    case(f"LINK_{name}", what)(link)


@case("LINK_09", "hierarchy")
async def link_09(run):
    await discover(run, "?ct=40", "/path")
    expect((await run.ask(Ask("GET", "path"))).body, b"</path/sub1>", "what is below")
    simple(await run.ask(Ask("GET", "path/sub1")), "2.05", "CON ACK", b"below")


@case("DTLS_01", "pre-shared key", clients=("openssl", "gnutls"), losses=NONE)
async def dtls_01(run):
    simple(await run.ask(Ask("GET", "test")), "2.05", "CON ACK", b"a test")
    assert "connected" in run.server.said, "no handshake"


@case("DTLS_02", "another pre-shared key", clients=("openssl", "gnutls"), losses=NONE)
async def dtls_02(run):
    await refused(run, Ask("GET", "test", key="other", patience=8))


async def refused(run, ask):
    got = await run.ask(ask)
    expect(got.code, "", "the code")
    run.took("GET", 0)


@case("DTLS_03", "pre-shared key, lossy", clients=("openssl", "gnutls"), losses=LOSSY)
async def dtls_03(run):
    simple(await run.ask(Ask("GET", "test")), "2.05", "CON ACK", b"a test")


@case("DTLS_04", "raw public key", clients=("gnutls",), losses=NONE, raw_keys=True)
async def dtls_04(run):
    simple(await run.ask(Ask("GET", "test", raw_key=run.keys["device"])), "2.05", "CON ACK", b"a test")


@case("DTLS_05", "raw public key that the server does not know", clients=("gnutls",), losses=NONE, raw_keys=True)
async def dtls_05(run):
    await refused(run, Ask("GET", "test", raw_key=run.keys["thief"], patience=8))


@case("DTLS_06", "raw public key that the client does not know", clients=())
async def dtls_06(run):
    raise AssertionError("a case of the client's")


@case("DTLS_07", "raw public key, lossy", clients=("gnutls",), losses=LOSSY, raw_keys=True)
async def dtls_07(run):
    simple(await run.ask(Ask("GET", "test", raw_key=run.keys["device"])), "2.05", "CON ACK", b"a test")
