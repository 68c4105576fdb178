"""A device over WebSocket by aiocoap: `coap_streams.py BASE TOKEN AUTHORITY`. It says on a line what came of each request, observes
its commands, and reports on two of them. Not here: what should have come of it (`coap_streams.rs`)."""

import asyncio
import json
import sys

import aiocoap

BASE, TOKEN, AUTHORITY = sys.argv[1:]
JSON = 50


async def ask(context, method, path, body=None):
    options = {} if body is None else {"payload": json.dumps(body).encode(), "content_format": JSON}
    response = await context.request(aiocoap.Message(code=method, uri=BASE + path, **options)).response
    print(path.split("?")[0], response.code, flush=True)
    return response


async def main():
    context = await aiocoap.Context.create_client_context(transports=["ws"])
    if BASE.startswith("coaps"):
        context.client_credentials.load_from_dict({f"{BASE}/*": {"tlscert": {"certfile": AUTHORITY}}})
    telemetry = f"/t/pump-1?t={TOKEN}"
    await ask(context, aiocoap.POST, telemetry, {"temperature": 21.5})
    await ask(context, aiocoap.PUT, telemetry, {"note": "x" * 5000})
    await ask(context, aiocoap.POST, "/telemetry?t=x", {})
    assert b"</telemetry>" in (await ask(context, aiocoap.GET, "/.well-known/core")).payload
    commands = context.request(aiocoap.Message(code=aiocoap.GET, uri=f"{BASE}/commands?t={TOKEN}", observe=0))
    await commands.response
    print("observes", flush=True)
    told = 0
    async for notification in commands.observation:
        for command in json.loads(notification.payload)["commands"]:
            await ask(context, aiocoap.POST, f"/commands/{command['id']}?t={TOKEN}", {"status": "done"})
            told += 1
        if told == 2:
            break
    await context.shutdown()


asyncio.run(asyncio.wait_for(main(), 60))
