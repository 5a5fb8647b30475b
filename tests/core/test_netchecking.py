import pytest

from wireguard_mesh.core.netchecking import Sample, family_check, nat_of, udp_of, vantage_checks
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, RelayId
from wireguard_mesh.protocol.diagnosis import FamilyCheck, VantageCheck
from wireguard_mesh.protocol.status import UdpState

FIRST, SECOND, SIXTH = (Endpoint.parse(text) for text in ("192.0.2.1:8080", "192.0.2.1:8081", "[2001:db8::1]:8080"))
OUTER, OTHER, OUTER_SIX = (Endpoint.parse(text) for text in ("203.0.113.9:7", "203.0.113.9:8", "[2001:db8::9]:7"))


def check(endpoint: Endpoint, mapped: Endpoint | None, number: int = 0) -> VantageCheck:
    answered = int(mapped is not None)
    return VantageCheck(relay=OWN_RELAY, number=number, endpoint=endpoint, sent=1, answered=answered, mapped=mapped)


def test_pings_to_one_address_are_one_check() -> None:
    seconds = (0.030, 0.010, None, 0.011)
    samples = [
        Sample(relay=OWN_RELAY, number=0, endpoint=FIRST, seconds=one, mapped=OUTER if one else None) for one in seconds
    ]
    samples.append(Sample(relay=RelayId("fra-1"), number=1, endpoint=SECOND))
    first, second = vantage_checks(samples)
    assert first == VantageCheck(
        relay=OWN_RELAY, number=0, endpoint=FIRST, sent=4, answered=3, milliseconds=11.0, mapped=OUTER
    )
    assert (second.relay, second.answered, second.milliseconds, second.mapped) == ("fra-1", 0, None, None)


@pytest.mark.parametrize(
    ("checks", "is_online", "state"),
    [
        ([check(FIRST, OUTER), check(SECOND, None)], False, UdpState.WORKS),
        ([check(FIRST, None)], True, UdpState.BLOCKED),
        ([check(FIRST, None)], False, UdpState.UNKNOWN),
        ([], True, UdpState.UNKNOWN),
    ],
)
def test_whether_udp_works(checks: list[VantageCheck], is_online: bool, state: UdpState) -> None:
    assert udp_of(checks, is_online=is_online) is state


@pytest.mark.parametrize(
    ("checks", "nat"),
    [
        ([], NatClass.UNKNOWN),
        ([check(FIRST, OUTER)], NatClass.UNKNOWN),
        ([check(FIRST, OUTER), check(SECOND, OUTER, 1)], NatClass.EASY),
        ([check(FIRST, OUTER), check(SECOND, OTHER, 1)], NatClass.HARD),
        ([check(FIRST, OUTER), check(SECOND, OUTER, 1), check(SIXTH, OUTER_SIX)], NatClass.EASY),
        ([check(SIXTH, OUTER_SIX)], NatClass.PUBLIC),
    ],
)
def test_the_class_of_a_nat(checks: list[VantageCheck], nat: NatClass) -> None:
    assert nat_of(checks, [OUTER_SIX], UdpState.WORKS) is nat


def test_no_nat_and_no_udp() -> None:
    assert nat_of([check(FIRST, OUTER)], [OUTER, OTHER], UdpState.WORKS) is NatClass.PUBLIC
    assert nat_of([check(FIRST, None)], [], UdpState.BLOCKED) is NatClass.BLOCKED


def test_each_family() -> None:
    local = [FIRST.address, SIXTH.address]
    heard = [check(FIRST, OUTER), check(SIXTH, None)]
    assert family_check(4, local, heard, None) == FamilyCheck(addresses=("192.0.2.1",), works=True)
    assert family_check(6, local, heard, None) == FamilyCheck(addresses=("2001:db8::1",), works=False)
    assert family_check(6, [], heard, SIXTH.address).works
    assert family_check(4, local, [], None).works is None
