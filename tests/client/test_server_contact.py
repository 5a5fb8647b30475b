"""What is said of the server, and when: `test_membership` has the calls, here are the corners."""

import logging

import pytest

from wireguard_mesh.client import clock
from wireguard_mesh.client.server_contact import ServerContact
from wireguard_mesh.model.errors import NotFound, Unavailable
from wireguard_mesh.model.servers import ServerAddress


class Made:
    def __init__(self, *, has_tunnels: bool = False) -> None:
        self.troubles = self.answers = 0
        server = ServerAddress("http", "192.0.2.1", 8080)
        self.contact = ServerContact(server, clock.now, lambda: has_tunnels, self.trouble, self.answer)

    def trouble(self) -> None:
        self.troubles += 1

    def answer(self) -> None:
        self.answers += 1


@pytest.mark.parametrize("has_tunnels", [False, True])
def test_a_fault_is_said_once_and_what_it_means(caplog: pytest.LogCaptureFixture, has_tunnels: bool) -> None:
    made = Made(has_tunnels=has_tunnels)
    for _ in range(3):
        made.contact.failed("map", Unavailable("gone"))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["gone; trying again" + (", the tunnels stay" if has_tunnels else "")]
    assert made.troubles == 1
    assert not made.contact.state.works


def test_all_is_well_when_the_last_call_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Made()
    made.contact.failed("map", Unavailable("gone"))
    made.contact.failed("heartbeat", Unavailable("gone"))
    made.contact.succeeded("heartbeat")
    assert made.answers == 1  # so that the other is tried at once
    made.contact.succeeded("map")
    assert made.answers == 1
    assert caplog.records[-1].getMessage() == "the server answers again server=http://192.0.2.1:8080"


def test_to_be_forgotten_is_a_fault_only_when_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Made()
    for times in (1, 2, 3):
        made.contact.is_unknown("map", NotFound("who?"), times)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the server does not know this machine any more, registering again", "who?; trying again"]


def test_a_fault_of_ours_has_its_place(caplog: pytest.LogCaptureFixture) -> None:
    made = Made()
    for _ in range(2):
        made.contact.stumbled("map", ZeroDivisionError("ours"))
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "ours" in made.contact.state.problem
