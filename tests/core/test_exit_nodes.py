import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import peer, public_key
from wireguard_mesh.core.exit_nodes import ExitDecision, ExitMode, ExitPolicy, choose, matches
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.peers import Peer

AUTO = ExitPolicy()
NONE = ExitDecision()


def node(number: int, *, online: bool = True, hostname: str | None = None) -> Peer:
    changed = msgspec.structs.replace(peer(number), exit_node=True, online=online)
    return msgspec.structs.replace(changed, hostname=Hostname(hostname)) if hostname else changed


def decide(
    policy: ExitPolicy, *peers: Peer, current: ExitDecision = NONE, offers: bool = False, usable: bool = True
) -> ExitDecision:
    return choose(policy, peers, current, offers=offers, usable=lambda _peer: usable)


def through(number: int) -> ExitDecision:
    return ExitDecision(routed=True, key=public_key(number))


@pytest.mark.parametrize("text", ["auto", "AUTO", " off "])
def test_parses_the_words(text: str) -> None:
    assert str(ExitPolicy.parse(text)) == text.strip().lower()


@pytest.mark.parametrize("text", ["gate", "peer-000001", "10.100.0.1", "fd00::1"])
def test_parses_a_peer(text: str) -> None:
    policy = ExitPolicy.parse(text)
    assert policy == ExitPolicy(ExitMode.PEER, text)
    assert str(policy) == text


@pytest.mark.parametrize("text", ["", " ", "-x", "a\x1bb", "x" * 254])
def test_refuses_nonsense(text: str) -> None:
    with pytest.raises(InvalidValue, match="exit node"):
        ExitPolicy.parse(text)


@pytest.mark.parametrize("name", ["peer-000001", "gate.example", "gate", "10.100.0.1", "fd01:2345:6789::1"])
def test_a_peer_has_several_names(name: str) -> None:
    assert matches(node(1, hostname="gate.example"), name)


@pytest.mark.parametrize("name", ["peer-000002", "gat", "example", "10.100.0.2", ""])
def test_other_names_are_not_its(name: str) -> None:
    assert not matches(node(1, hostname="gate.example"), name)


def test_off_uses_none() -> None:
    assert decide(ExitPolicy(ExitMode.OFF), node(1), current=through(1)) == NONE


def test_auto_takes_the_first_by_address_that_is_online_and_usable() -> None:
    assert decide(AUTO, peer(1), node(4), node(3), node(2, online=False)) == through(3)
    assert decide(AUTO, node(3), usable=False) == NONE
    assert decide(AUTO, peer(1)) == NONE


def test_auto_sticks_to_its_choice_and_falls_back_when_that_fails() -> None:
    assert decide(AUTO, node(3), node(4), current=through(4)) == through(4)
    assert decide(AUTO, node(3), node(4, online=False), current=through(4)) == through(3)
    assert decide(AUTO, node(4, online=False), current=through(4)) == NONE


def test_an_exit_node_uses_no_other() -> None:
    assert decide(AUTO, node(3), offers=True) == NONE
    named = decide(ExitPolicy.parse("host-3"), node(3), offers=True)
    assert not named.routed
    assert "itself" in named.problem


def test_a_named_peer_is_taken_usable_or_not() -> None:
    assert decide(ExitPolicy.parse("host-3"), node(3), node(2), usable=False) == through(3)


def test_a_named_peer_keeps_the_traffic_while_it_is_offline() -> None:
    decision = decide(ExitPolicy.parse("host-3"), node(3, online=False), node(2))
    assert (decision.routed, decision.key) == (True, public_key(3))
    assert "offline" in decision.problem


def test_a_named_peer_that_vanishes_leaks_nothing() -> None:
    policy = ExitPolicy.parse("host-3")
    gone = decide(policy, node(2), current=through(3))
    assert (gone.routed, gone.key) == (True, None)
    assert "no peer is called host-3" in gone.problem
    unwilling = decide(policy, peer(3), current=through(3))
    assert (unwilling.routed, unwilling.key) == (True, None)
    assert "offers no exit node" in unwilling.problem


@pytest.mark.parametrize("members", [(), (peer(9),), (node(3),), (node(9, online=False),)])
def test_who_names_an_exit_node_never_goes_out_by_another_way(members: tuple[Peer, ...]) -> None:
    """An agent that has just started knows of no decision before; see also the twins below."""
    decision = decide(ExitPolicy.parse("host-9"), *members)
    assert decision.routed
    assert decision.key in {None, public_key(9)}
    assert "no internet" in decision.problem
    assert "-use-exit-node off" in decision.problem


def test_a_name_of_two_is_nobodys_unless_one_is_in_use() -> None:
    twins = node(3, hostname="gate"), node(4, hostname="gate")
    policy = ExitPolicy.parse("gate")
    unclear = decide(policy, *twins)
    assert unclear.routed
    assert unclear.key is None
    assert "use the id" in unclear.problem
    assert decide(policy, *twins, current=through(4)) == through(4)


@given(
    st.sampled_from(["auto", "off", "host-1", "host-9"]),
    st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), unique_by=lambda item: item[0]),
    st.booleans(),
    st.booleans(),
)
def test_deciding_again_changes_nothing(
    text: str, members: list[tuple[int, bool, bool]], offers: bool, usable: bool
) -> None:
    peers = [node(number, online=online) if exits else peer(number) for number, online, exits in members]
    once = decide(ExitPolicy.parse(text), *peers, offers=offers, usable=usable)
    assert decide(ExitPolicy.parse(text), *peers, current=once, offers=offers, usable=usable) == once
    if once.key is not None:
        assert once.key in {one.public_key for one in peers if one.exit_node}
