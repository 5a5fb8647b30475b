"""Our table of nftables: what it says (pure), and how it gets into the kernel.

One table an interface, `inet wireguard_mesh_…`, replaced as a whole in one transaction, so that there is no moment
without it. A second reader of the kernel's tables is not needed: whether ours stands is one netlink question.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import struct
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable, Iterator
from typing import Final

from wireguard_mesh.model.errors import NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.hosts import Forwarding, WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.codec import text
from wireguard_mesh.netlink.connection import NETLINK_NETFILTER, NetlinkConnection, NetlinkError

PROGRAM: Final = "nft"
TABLE_PREFIX: Final = "wireguard_mesh_"
TIMEOUT: Final = 10.0  # seconds; a change takes some 15 ms
_FAMILY_INET: Final = 1  # NFPROTO_INET
_NFT_MSG_GETTABLE: Final = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, linux/netfilter/nf_tables.h
_NFTA_TABLE_NAME: Final = 1
_NFGENMSG: Final = struct.Struct("=BBH")


def table_name(interface: InterfaceName) -> str:
    """The table's name; what nft does not take in a name is written as the character's code."""
    safe = (char if char.isalnum() or char in "_.-" else f"_{ord(char):02x}" for char in interface)
    return TABLE_PREFIX + "".join(safe)


def ruleset(wanted: WantedHost) -> str:
    """What makes the table anew for exit routing and forwarding, as `nft -f` reads it; empty if neither is wanted."""
    chains = [*_exit_chains(wanted), *_forwarding_chains(wanted.interface, wanted.forwarding)]
    if not chains:
        return ""
    table = f"table inet {table_name(wanted.interface)}"
    # The first line makes the second one succeed in every case.
    return "\n".join([table, f"delete {table}", f"{table} {{", *chains, "}", ""])


def _exit_chains(wanted: WantedHost) -> Iterator[str]:
    """What wg-quick protects exit routing with.

    Nobody beside the tunnel reaches the tunnel's address, and answers to marked packets are marked as they come in, so
    that the check of their source (rp_filter) looks them up as it does ours. wg-quick does that for UDP; the agent's
    TCP connections to its server are marked too.
    """
    routing = wanted.exit_routing
    if routing is None:
        return
    others = f'iifname != "{wanted.interface}"'
    guards = [
        f"{others} {match} daddr {{ {addresses} }} fib saddr type != local drop"
        for match, addresses in _by_family(address.ip for address in wanted.addresses)
    ]
    yield _chain("preraw", "filter", "prerouting", "raw", guards)
    restore = f"ct mark {routing.fwmark} meta mark set ct mark"
    yield _chain("premangle", "filter", "prerouting", "mangle", [restore])
    save = f"meta mark {routing.fwmark} ct mark set meta mark"
    yield _chain("postmangle", "filter", "postrouting", "mangle", [save])


def _forwarding_chains(interface: InterfaceName, forwarding: Forwarding | None) -> Iterator[str]:
    """Out into the internet for the mesh's addresses; from there into the mesh go only answers."""
    if forwarding is None:
        return
    inward, outward = f'iifname "{interface}"', f'oifname "{interface}"'
    clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"
    sources = _by_family(forwarding.sources)
    forward = [
        f"{inward} {clamp}",
        f"{outward} {clamp}",
        f"{inward} {outward} accept",
        *(f"{inward} {match} saddr {{ {prefixes} }} accept" for match, prefixes in sources),
        f"{outward} ct state established,related accept",
        f"{inward} drop",
        f"{outward} drop",
    ]
    yield _chain("forward", "filter", "forward", "filter", forward)
    outside = f'oifname != "{interface}"'
    leave = [f"{outside} {match} saddr {{ {prefixes} }} masquerade" for match, prefixes in sources]
    yield _chain("postrouting", "nat", "postrouting", "srcnat", leave)


def _chain(name: str, kind: str, hook: str, priority: str, rules: Iterable[str]) -> str:
    lines = [f"type {kind} hook {hook} priority {priority}; policy accept;", *rules]
    return "\n".join([f"  chain {name} {{", *(f"    {line}" for line in lines), "  }"])


def _by_family(values: Iterable[object]) -> list[tuple[str, str]]:
    """The word of nft for each family that occurs, and its values as the elements of a set."""
    texts = sorted(map(str, values))
    families = (("ip", [text for text in texts if ":" not in text]), ("ip6", [text for text in texts if ":" in text]))
    return [(match, ", ".join(found)) for match, found in families if found]


def table_stands(name: str) -> bool:
    """Whether the kernel has our table. Raises `NetlinkError`."""
    connection = NetlinkConnection(NETLINK_NETFILTER)
    try:
        connection.request(_NFT_MSG_GETTABLE, _NFGENMSG.pack(_FAMILY_INET, 0, 0) + text(_NFTA_TABLE_NAME, name))
    except NetlinkError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL):  # the latter two: no nftables in the kernel
            return False
        raise
    finally:
        connection.close()
    return True


async def load(rules: str) -> None:
    """Give rules to nft, all or none. Raises `Unsupported`, `NotPermitted` or `Unavailable`."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unsupported(f"{PROGRAM} is not installed", "install it: apt-get install nftables")
    process = await asyncio.create_subprocess_exec(program, "-f", "-", stdin=PIPE, stdout=DEVNULL, stderr=PIPE)
    try:
        async with asyncio.timeout(TIMEOUT):
            _, said = await process.communicate(rules.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unavailable(f"{PROGRAM} did not end within {TIMEOUT:.0f} s") from None
    if process.returncode == 0:
        return
    reason = said.decode(errors="replace").strip().splitlines()
    first = reason[0] if reason else f"exit code {process.returncode}"
    if "Operation not permitted" in first:
        raise NotPermitted(f"{PROGRAM} may not change the firewall", "run as root, or with CAP_NET_ADMIN")
    raise Unsupported(
        f"{PROGRAM} refused the firewall's rules: {first}", "the kernel may lack nf_tables, nft_fib or NAT"
    )


def deletion(name: str) -> str:
    """What deletes the table, whether it stands or not."""
    return f"table inet {name}\ndelete table inet {name}\n"
