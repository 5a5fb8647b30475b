from ipaddress import IPv4Address

from tests.samples import peer, public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.relaying import PairRelays
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint

RELAY = Relay(id=RelayId("a"), vantage_points=(VantagePoint(public_key(90), 8080),), ipv4=IPv4Address("203.0.113.1"))
NOW = Instant(10, 1000)


def relays(*, answers: bool) -> RelayChoice:
    choice = RelayChoice()
    choice.follow((RELAY,), (), ())
    key = RELAY.vantage_points[0].public_key
    seen = ObservedPeer(public_key=key, endpoint=RELAY.endpoints(0)[0], latest_handshake=999 if answers else 0)
    choice.observed(ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL, peers={key: seen}), NOW)
    return choice


def pair(choice: RelayChoice) -> PairRelays:
    return PairRelays(choice, choice.ways(NOW), peer(1), peer(2), NOW)


def test_a_relay_that_answers_works_and_is_chosen() -> None:
    found = pair(relays(answers=True))
    assert found.works(RELAY.id)
    assert found.choice() == ("a", RELAY.endpoints(0)[0])
    assert found.at(RELAY.endpoints(0)[0]) == "a"
    assert found.at(peer(2).endpoints[0]) is None


def test_one_that_does_not_is_known_and_of_no_use() -> None:
    found = pair(relays(answers=False))
    assert not found.works(RELAY.id)
    assert found.choice() is None
    assert found.at(RELAY.endpoints(0)[0]) == "a"
