from wireguard_mesh.core.contact import NEVER, Calls, Contact
from wireguard_mesh.core.instant import Instant


def at(wall: float) -> Instant:
    return Instant(0.0, wall)


def test_knows_nothing_before_the_first_attempt() -> None:
    contact = Contact()
    assert not contact.works
    assert contact.since == NEVER
    assert contact.problem == ""


def test_the_first_success_is_no_news() -> None:
    contact = Contact()
    assert not contact.succeeded(at(10))
    assert contact.works
    assert contact.since == 10
    assert not contact.succeeded(at(20))
    assert contact.since == 10


def test_a_fault_is_said_once_and_its_end_once() -> None:
    contact = Contact()
    contact.succeeded(at(10))
    assert contact.failed("no answer", at(20))
    assert not contact.failed("no answer", at(30))
    assert (contact.works, contact.since, contact.problem) == (False, 20, "no answer")
    assert contact.succeeded(at(40))
    assert not contact.succeeded(at(50))
    assert (contact.works, contact.since, contact.problem) == (True, 40, "")
    assert contact.failed("no answer", at(60))


def test_another_kind_of_fault_is_news_and_other_words_for_the_same_are_not() -> None:
    contact = Contact()
    assert contact.failed("refused by 192.0.2.1", at(1), kind="unavailable")
    assert not contact.failed("refused by 192.0.2.2", at(2), kind="unavailable")
    assert contact.problem == "refused by 192.0.2.2"
    assert contact.since == 1
    assert contact.failed("not you", at(3), kind="refused")
    assert contact.since == 1


def test_all_is_well_only_when_no_call_fails() -> None:
    calls, now = Calls(), Instant(1.0, 100.0)
    assert calls.failed("map", "broke", now, "unavailable")
    assert not calls.failed("beat", "broke too", now, "unavailable")
    assert calls.failed("beat", "full", now, "exhausted")
    assert not calls.failed("map", "broke", now, "unavailable")
    assert (calls.is_failing, calls.contact.problem) == (True, "broke")
    assert not calls.succeeded("map", now)
    assert (calls.is_failing, calls.contact.works) == (True, False)
    assert calls.succeeded("beat", now)
    assert (calls.is_failing, calls.contact.works) == (False, True)
    assert not calls.succeeded("beat", now)
    assert calls.failed("map", "broke", now, "unavailable")


def test_an_answer_of_another_kind_is_an_answer() -> None:
    calls, now = Calls(), Instant(1.0, 100.0)
    calls.failed("map", "broke", now, "unavailable")
    calls.answered("map")
    assert not calls.is_failing
    assert calls.succeeded("register", now)
