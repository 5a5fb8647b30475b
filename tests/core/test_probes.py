from tests.samples import public_key
from wireguard_mesh.core.probes import DECOY, Probe, ProbeKind, Round, send
from wireguard_mesh.model.devices import PeerChange
from wireguard_mesh.model.endpoints import Endpoint

HOME, A, B = (Endpoint.parse(f"192.0.2.{number}:51820") for number in (1, 2, 3))
ONE, OTHER = public_key(1), public_key(2)


def pulse(key: int, *targets: Endpoint, calls_home: bool = False) -> Probe:
    return Probe(public_key=public_key(key), kind=ProbeKind.PULSE, targets=targets, home=HOME, calls_home=calls_home)


def test_a_packet_is_sent_by_a_keepalive_that_comes_on_and_all_is_as_before() -> None:
    assert send(ONE, A, 25) == (
        PeerChange(public_key=ONE, endpoint=A, keepalive=0),
        PeerChange(public_key=ONE, keepalive=25),
    )
    assert send(ONE, A, 0) == (
        PeerChange(public_key=ONE, endpoint=A, keepalive=1),
        PeerChange(public_key=ONE, keepalive=0),
    )


def test_a_pulse_goes_from_target_to_target_and_home() -> None:
    first, second, last = Round((pulse(1, A, B),)).steps(25)
    assert first.peers == send(ONE, A, 25)
    assert second.peers == send(ONE, B, 25)
    assert last.peers == (PeerChange(public_key=ONE, endpoint=HOME),)


def test_who_has_fewer_targets_is_home_earlier() -> None:
    steps = Round((pulse(1, A, B), pulse(2, A))).steps(25)
    assert len(steps) == 3
    assert steps[0].peers == (*send(ONE, A, 25), *send(OTHER, A, 25))
    assert steps[1].peers == (*send(ONE, B, 25), PeerChange(public_key=OTHER, endpoint=HOME))
    assert steps[2].peers == (PeerChange(public_key=ONE, endpoint=HOME),)


def test_a_packet_goes_home_too_if_that_is_asked_for() -> None:
    assert Round((pulse(1, A, calls_home=True),)).steps(25)[-1].peers == send(ONE, HOME, 25)


def test_a_punch_leaves_the_peer_alone_and_nothing_behind() -> None:
    punch = Probe(public_key=ONE, kind=ProbeKind.PUNCH, targets=(A, B), home=HOME)
    (step,) = Round((punch,)).steps(25)
    assert {part.public_key for part in step.peers} == {DECOY}
    assert [part.endpoint for part in step.peers if part.create] == [A, B]
    assert [part.remove for part in step.peers] == [False, True, False, True]


def test_punches_and_pulses_share_a_round() -> None:
    punch = Probe(public_key=OTHER, kind=ProbeKind.PUNCH, targets=(A,), home=HOME)
    first, last = Round((pulse(1, A), punch)).steps(25)
    assert {part.public_key for part in first.peers} == {DECOY, ONE}
    assert {part.public_key for part in last.peers} == {ONE}
