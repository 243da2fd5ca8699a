"""Slows clients that give wrong keys, without turning away those that have the right one."""

import asyncio
import ipaddress
import time
from collections import OrderedDict

BURST, PER_SECOND = 10, 0.2
"""Wrong keys of one address that are answered at once, and how fast they become available again."""
TOTAL_BURST, TOTAL_PER_SECOND = 200, 5.0
"""The same for all addresses together."""
PAUSE = 0.1
"""Seconds that the answer to a further wrong key waits."""
MOST_WAITING = 64
MOST_ADDRESSES = 10_000


class Bucket:
    """A token bucket.

    Args:
        burst: tokens that it holds.
        per_second: that it gets.
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._tokens, self._at = burst, time.monotonic()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        now = time.monotonic()
        self._tokens, self._at = min(self._burst, self._tokens + self._per_second * (now - self._at)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Attempts:
    """Counts wrong keys, of each address and of all. The right key is never counted, so it is accepted at any time."""

    def __init__(self) -> None:
        self._total = Bucket(TOTAL_BURST, TOTAL_PER_SECOND)
        self._by_address: OrderedDict[str, Bucket] = OrderedDict()
        self._waiting = 0

    async def wrong(self, client: str) -> bool:
        """Count a wrong key; return whether there were too many, after a pause if so.

        Args:
            client: address of the client.
        """
        address = network(client)
        own = self._by_address.setdefault(address, Bucket(BURST, PER_SECOND))
        self._by_address.move_to_end(address)
        if len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        if own.take() and self._total.take():
            return False
        if self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(PAUSE)
            finally:
                self._waiting -= 1
        return True


def network(client: str) -> str:
    """What one client can change its address within: the address of IPv4, the /64 of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else str(address)
