"""What a rendezvous asks of a handshake before it is looked at."""

from tests.core.wireguard_peer import RANDOM, VANTAGE_KEYS, MemoryPeer, address, at
from wireguard_mesh.core.rendezvous_gate import UNDER_LOAD_AFTER, Gate, GateLimits
from wireguard_mesh.core.sources import Source
from wireguard_mesh.protocol import cookies
from wireguard_mesh.protocol.wireguard import COOKIE_REPLY_SIZE, INITIATION_SIZE

KEY = cookies.cookie_key(VANTAGE_KEYS[0])
PEER = MemoryPeer(1)
CALM = GateLimits(calm=1, calm_burst=2)


def refusal(gate: Gate, source: Source, initiation: bytes, seconds: float) -> bytes | None:
    return gate.refusal(KEY, source, initiation, at(seconds), RANDOM)


def loaded(limits: GateLimits = CALM) -> Gate:
    """One that was called more often at 0 than it likes."""
    gate = Gate(limits)
    while not gate.is_under_load(at(0)):
        refusal(gate, address(9), PEER.initiation(at(0)), 0)
    return gate


def cookie(gate: Gate, source: Source, seconds: float) -> bytes:
    reply = refusal(gate, source, PEER.initiation(at(seconds)), seconds)
    assert reply is not None
    assert len(reply) == COOKIE_REPLY_SIZE < INITIATION_SIZE
    assert PEER.initiator is not None
    return PEER.initiator.open_cookie(reply)


def test_each_is_looked_at_while_there_are_few() -> None:
    gate = Gate(CALM)
    for second in range(5):
        assert refusal(gate, address(1), PEER.initiation(at(second)), second) is None
        assert not gate.is_under_load(at(second))


def test_under_load_only_those_with_a_cookie_for_their_address() -> None:
    gate = loaded()
    given = cookie(gate, address(1), 0.1)
    assert refusal(gate, address(1), PEER.initiation(at(0.2), given), 0.2) is None
    for source in (address(2), address(1, port=5)):
        assert refusal(gate, source, PEER.initiation(at(0.2), given), 0.2)


def test_load_lasts_while_they_come_too_fast() -> None:
    gate = loaded()
    for moment in (0.9, 1.8, 2.7):
        for _ in range(3):
            refusal(gate, address(9), PEER.initiation(at(moment)), moment)
        assert gate.is_under_load(at(moment))


def test_load_ends() -> None:
    gate = loaded()
    assert refusal(gate, address(1), PEER.initiation(at(0.9)), 0.9) is not None
    assert gate.is_under_load(at(0.9))
    later = 0.9 + UNDER_LOAD_AFTER + 1
    assert refusal(gate, address(1), PEER.initiation(at(later)), later) is None


def test_a_cookie_is_good_for_two_minutes_at_most() -> None:
    gate = loaded()
    given = cookie(gate, address(1), 0)
    for second in (60.0, 121.0):
        while not gate.is_under_load(at(second)):
            refusal(gate, address(9), PEER.initiation(at(second)), second)
    assert refusal(gate, address(1), PEER.initiation(at(121), given), 121)


def test_a_subscriber_with_cookies_may_fail_only_so_often() -> None:
    gate = loaded(GateLimits(calm=1, calm_burst=1, failed=1, failed_burst=3))
    given = [cookie(gate, address(1, port), 0) for port in range(5)]
    answers = [
        refusal(gate, address(1, port), PEER.initiation(at(0), cookie_), 0) for port, cookie_ in enumerate(given)
    ]
    assert answers == [None, None, None, b"", b""]
    other = cookie(gate, address(2), 0)
    assert refusal(gate, address(2), PEER.initiation(at(0), other), 0) is None


def test_ten_thousand_registered_peers_come_back_from_one_address() -> None:
    gate = loaded()
    for number in range(200):
        source = address(1, port=number)
        given = cookie(gate, source, number / 100)
        assert refusal(gate, source, PEER.initiation(at(number / 100), given), number / 100) is None
        gate.succeeded(source)


def test_success_does_not_buy_more_than_a_burst_of_failures() -> None:
    gate = loaded(GateLimits(calm=1, calm_burst=1, failed=1, failed_burst=3))
    given = cookie(gate, address(1), 0)
    for _ in range(100):
        assert refusal(gate, address(1), PEER.initiation(at(0), given), 0) is None
        gate.succeeded(address(1))
    answers = [refusal(gate, address(1), PEER.initiation(at(0), given), 0) for _ in range(4)]
    assert answers == [None, None, None, b""]


def test_more_that_succeed_than_that_fail_are_no_load() -> None:
    limits = GateLimits(calm=0.1, calm_burst=2, success=0.25)
    failing, succeeding = Gate(limits), Gate(limits)
    for number in range(5):
        refusal(failing, address(number), PEER.initiation(at(0)), 0)
        assert refusal(succeeding, address(number), PEER.initiation(at(0)), 0) is None
        succeeding.succeeded(address(number))
    assert failing.is_under_load(at(0))
    assert not succeeding.is_under_load(at(0))


def test_a_peer_whose_place_is_known_goes_first_with_its_few() -> None:
    gate = loaded(GateLimits(calm=1, calm_burst=1, known=1, known_burst=2))

    def ask(number: int, seconds: float) -> bytes | None:
        return gate.refusal(KEY, address(number), PEER.initiation(at(seconds)), at(seconds), RANDOM, is_known=True)

    assert [ask(1, 0) is None for _ in range(3)] == [True, True, False]
    assert ask(2, 0) is None
    assert ask(1, 1) is None


def test_all_together_have_only_so_many() -> None:
    gate = loaded(GateLimits(calm=1, calm_burst=1, looked_at=2))
    given = [cookie(gate, address(number), 0) for number in range(4)]
    answers = [
        refusal(gate, address(number), PEER.initiation(at(0), cookie_), 0) for number, cookie_ in enumerate(given)
    ]
    assert answers == [None, None, b"", b""]


def test_cookie_replies_are_limited_by_subscriber_and_in_all() -> None:
    gate = loaded(GateLimits(calm=1, calm_burst=1, replies=10, replies_per_subscriber=4))  # one went to host 9
    to_one = [refusal(gate, address(1), PEER.initiation(at(0)), 0) for _ in range(6)]
    assert [bool(reply) for reply in to_one] == [True] * 4 + [False] * 2
    to_many = [refusal(gate, address(number), PEER.initiation(at(0)), 0) for number in range(2, 9)]
    assert [bool(reply) for reply in to_many] == [True] * 5 + [False] * 2


def test_no_limit_means_no_load() -> None:
    gate = Gate(GateLimits(calm_burst=0))
    datagram = PEER.initiation(at(0))
    assert {refusal(gate, address(1), datagram, 0) for _ in range(5000)} == {None}
