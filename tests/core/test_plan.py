"""The plan: least operations, sessions kept, planning twice changes nothing."""

from ipaddress import ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import peer, private_key, public_key
from wireguard_mesh.core.plan import calls, plan
from wireguard_mesh.model.devices import (
    BackendKind,
    DeviceChange,
    ObservedDevice,
    ObservedPeer,
    PeerChange,
    WantedDevice,
    WantedPeer,
)
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PublicKey
from wireguard_mesh.model.names import InterfaceName

ENDPOINTS = [Endpoint.parse(f"192.0.2.{n}:51820") for n in range(1, 4)]
PREFIXES = [ip_network(text) for text in ("10.100.0.1/32", "10.100.0.2/32", "fd00::1/128", "0.0.0.0/0", "::/0")]
SECRET = PresharedKey(bytes(range(32)))


def wanted_peer(number: int) -> WantedPeer:
    return WantedPeer(public_key=public_key(number), allowed_ips=frozenset(peer(number).addresses), keepalive=25)


def wanted(*peers: WantedPeer) -> WantedDevice:
    return WantedDevice(
        private_key=private_key(0), listen_port=51820, fwmark=51820, peers={peer.public_key: peer for peer in peers}
    )


def bare() -> ObservedDevice:
    return ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL)


def carry_out(device: ObservedDevice, change: DeviceChange) -> ObservedDevice:
    """What WireGuard makes of a change: the reference for the fakes and for the plan."""
    peers = dict(device.peers)
    for part in change.peers:
        _carry_out_peer(peers, part)
    return msgspec.structs.replace(
        device,
        private_key=device.private_key if change.private_key is None else change.private_key,
        listen_port=device.listen_port if change.listen_port is None else change.listen_port,
        fwmark=device.fwmark if change.fwmark is None else change.fwmark,
        peers=peers,
    )


def _carry_out_peer(peers: dict[PublicKey, ObservedPeer], part: PeerChange) -> None:
    if part.remove:
        peers.pop(part.public_key, None)
        return
    if part.public_key not in peers and not part.create:
        return
    standing = peers.get(part.public_key, ObservedPeer(public_key=part.public_key))
    if part.endpoint is not None:
        standing = msgspec.structs.replace(standing, endpoint=part.endpoint)
    if part.keepalive is not None:
        standing = msgspec.structs.replace(standing, keepalive=part.keepalive)
    if part.preshared_key is not None:
        kept = None if part.preshared_key == NO_PRESHARED_KEY else part.preshared_key
        standing = msgspec.structs.replace(standing, preshared_key=kept)
    if part.allowed_ips is not None:
        standing = msgspec.structs.replace(standing, allowed_ips=part.allowed_ips)
        for key, other in peers.items():
            peers[key] = msgspec.structs.replace(other, allowed_ips=other.allowed_ips - part.allowed_ips)
    peers[part.public_key] = standing


@st.composite
def devices(draw: st.DrawFn) -> tuple[WantedDevice, ObservedDevice]:
    """Any wish and any standing device; each prefix belongs to one peer at most, as in WireGuard."""
    numbers = st.sets(st.integers(1, 5))
    endpoint = st.none() | st.sampled_from(ENDPOINTS)
    keepalive = st.sampled_from([0, 25])
    secret = st.none() | st.just(SECRET)

    def split(peers: list[int]) -> dict[int, frozenset[object]]:
        owner = {prefix: draw(st.sampled_from(peers)) for prefix in PREFIXES} if peers else {}
        return {number: frozenset(prefix for prefix in PREFIXES if owner[prefix] == number) for number in peers}

    wish, standing = (split(sorted(draw(numbers))) for _ in range(2))
    observed = msgspec.structs.replace(
        bare(),
        listen_port=draw(st.sampled_from([0, 51820, 40000])),
        fwmark=draw(st.sampled_from([0, 51820])),
        private_key=draw(st.none() | st.just(private_key(0)) | st.just(private_key(9))),
        peers={
            public_key(number): ObservedPeer(
                public_key=public_key(number),
                allowed_ips=prefixes,  # type: ignore[arg-type]  # a set of sampled prefixes
                endpoint=draw(endpoint),
                keepalive=draw(keepalive),
                preshared_key=draw(secret),
                latest_handshake=1.0,
            )
            for number, prefixes in standing.items()
        },
    )
    wishes = [
        WantedPeer(
            public_key=public_key(number),
            allowed_ips=prefixes,  # type: ignore[arg-type]  # a set of sampled prefixes
            endpoint=draw(endpoint),
            keepalive=draw(keepalive),
            preshared_key=draw(secret),
        )
        for number, prefixes in wish.items()
    ]
    return wanted(*wishes), observed


@given(devices())
def test_the_plan_reaches_what_is_wanted_and_then_rests(sample: tuple[WantedDevice, ObservedDevice]) -> None:
    wish, standing = sample
    reached = carry_out(standing, plan(wish, standing))
    assert reached.private_key == wish.private_key
    assert reached.listen_port == wish.listen_port
    assert reached.fwmark == wish.fwmark
    assert reached.peers.keys() == wish.peers.keys()
    for key, peer_wish in wish.peers.items():
        is_so = reached.peers[key]
        assert is_so.allowed_ips == peer_wish.allowed_ips
        assert is_so.keepalive == peer_wish.keepalive
        assert is_so.preshared_key == peer_wish.preshared_key
        if peer_wish.endpoint is not None:
            assert is_so.endpoint == peer_wish.endpoint
        elif key in standing.peers:
            assert is_so.endpoint == standing.peers[key].endpoint
    assert plan(wish, reached).is_empty


@given(devices())
def test_a_peer_whose_key_stays_is_never_removed_or_made_anew(sample: tuple[WantedDevice, ObservedDevice]) -> None:
    wish, standing = sample
    for change in plan(wish, standing).peers:
        if change.public_key in wish.peers and change.public_key in standing.peers:
            assert not change.remove
            assert not change.create


def test_a_new_device_gets_everything_in_one_change() -> None:
    change = plan(wanted(wanted_peer(1), wanted_peer(2)), bare())
    assert change.private_key == private_key(0)
    assert (change.listen_port, change.fwmark) == (51820, 51820)
    assert [part.public_key for part in change.peers] == [public_key(1), public_key(2)]
    assert all(part.create for part in change.peers)


def test_only_what_differs_is_in_the_change() -> None:
    standing = carry_out(bare(), plan(wanted(wanted_peer(1), wanted_peer(2)), bare()))
    moved = msgspec.structs.replace(wanted_peer(2), endpoint=ENDPOINTS[0])
    assert plan(wanted(wanted_peer(1), moved), standing) == DeviceChange(
        peers=(PeerChange(public_key=public_key(2), endpoint=ENDPOINTS[0]),)
    )


def test_an_endpoint_that_roamed_is_left_alone() -> None:
    standing = carry_out(bare(), plan(wanted(wanted_peer(1)), bare()))
    roamed = msgspec.structs.replace(standing.peers[public_key(1)], endpoint=ENDPOINTS[2])
    standing = msgspec.structs.replace(standing, peers={public_key(1): roamed})
    assert plan(wanted(wanted_peer(1)), standing).is_empty


@pytest.mark.parametrize(("port", "has_key", "change"), [(0, False, 0), (0, True, None), (40000, True, None)])
def test_any_port_serves_when_none_is_asked_for(port: int, has_key: bool, change: int | None) -> None:
    standing = msgspec.structs.replace(bare(), listen_port=port, private_key=private_key(0) if has_key else None)
    wish = msgspec.structs.replace(wanted(), listen_port=0)
    assert plan(wish, standing).listen_port == change


@pytest.mark.parametrize("keepalive", [0, 25])
def test_a_call_sends_by_a_keepalive_that_comes_on_and_leaves_all_as_it_was(keepalive: int) -> None:
    wish = wanted(msgspec.structs.replace(wanted_peer(1), keepalive=keepalive))
    device = carry_out(carry_out(bare(), plan(wish, bare())), roaming_to(ENDPOINTS[0]))
    call = calls(wish, device, [public_key(1), public_key(2)])
    assert [part.endpoint for part in call.peers] == [ENDPOINTS[0], None]
    before, after = (part.keepalive for part in call.peers)
    assert not before if keepalive else before
    assert after == keepalive
    assert carry_out(device, call) == device


def roaming_to(endpoint: Endpoint) -> DeviceChange:
    return DeviceChange(peers=(PeerChange(public_key=public_key(1), endpoint=endpoint),))


def test_a_peer_that_is_only_made_now_needs_no_call() -> None:
    assert calls(wanted(wanted_peer(1)), bare(), [public_key(1)]).is_empty


def test_a_peer_without_a_session_is_made_anew_if_that_is_asked_for() -> None:
    device = wanted(wanted_peer(2), wanted_peer(3))
    standing = carry_out(bare(), plan(device, bare()))
    change = plan(device, standing, [public_key(2), public_key(9)])
    assert [(part.public_key, part.remove, part.create) for part in change.peers] == [
        (public_key(2), True, False),
        (public_key(2), False, True),
    ]
    assert carry_out(standing, change) == standing
    # One that stands no longer is made as any other.
    assert plan(device, bare(), [public_key(2)]) == plan(device, bare())
