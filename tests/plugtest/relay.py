"""A client's way to its server: a relay that loses datagrams by a seed, and takes note of what is said in plain CoAP. Not
here: what is asked, and by whom."""

import asyncio
import random
from dataclasses import dataclass, field

UP, DOWN = "sent", "received"
KINDS = ("CON", "NON", "ACK", "RST")
# How many datagrams of one round trip get lost. A client gives up a message after five transmissions, and libcoap gives up a
# handshake, of three round trips, after four timeouts in all.
MOST_LOST, MOST_LOST_SHAKING = 3, 1
# Change of cipher and handshake (RFC 6347); CoAP begins with other bits.
SHAKING = (20, 22)


@dataclass
class Message:
    """One message of the exchange, as the client saw it."""

    way: str
    kind: str
    code: str
    mid: int
    token: str
    options: dict = field(default_factory=dict)
    payload: str = ""


class Relay:
    """One client and one server. `loss` is the chance of every datagram, both ways."""

    def __init__(self, server, loss, seed):
        self.server, self.loss, self.chance = ("127.0.0.1", server), loss / 100, random.Random(seed)
        self.client, self.last, self.lost, self.cut = None, None, 0, False
        self.messages, self.dropped = [], 0

    async def start(self):
        loop = asyncio.get_running_loop()
        local = ("127.0.0.1", 0)
        self.front, _ = await loop.create_datagram_endpoint(lambda: Side(self.from_client), local_addr=local)
        self.back, _ = await loop.create_datagram_endpoint(lambda: Side(self.from_server), remote_addr=self.server)
        return self.front.get_extra_info("sockname")[1]

    def close(self):
        self.front.close()
        self.back.close()

    def from_client(self, data, address):
        self.client = address
        if self.passes(UP, data):
            self.back.sendto(data)

    def from_server(self, data, _):
        if self.passes(DOWN, data):
            self.front.sendto(data, self.client)

    def passes(self, way, data):
        """A datagram; what comes before and after it says whether a round trip was made."""
        if self.cut:
            return False
        note(self.messages, way, data)
        # The first one always, so that no run is without.
        unlucky = self.chance.random() < self.loss or self.loss > 0 and self.dropped == 0
        most = MOST_LOST_SHAKING if data[0] in SHAKING else MOST_LOST
        if self.lost < most and unlucky:
            self.lost, self.last = self.lost + 1, None
            self.dropped += 1
            return False
        if self.last not in (None, way):
            self.lost = 0
        self.last = way
        return True


class Side(asyncio.DatagramProtocol):
    def __init__(self, taken):
        self.taken = taken

    def datagram_received(self, data, address):
        self.taken(data, address)

    def error_received(self, _):
        """The other side has gone; it will be missed there."""


def note(messages, way, data):
    """Reads a message without its options; of DTLS nothing can be read."""
    if len(data) < 4 or data[0] >> 6 != 1:
        return
    length = data[0] & 15
    code = f"{data[1] >> 5}.{data[1] & 31:02}"
    token = data[4 : 4 + length].hex()
    messages.append(Message(way, KINDS[data[0] >> 4 & 3], code, int.from_bytes(data[2:4], "big"), token))
