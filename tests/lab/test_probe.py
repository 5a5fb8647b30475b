"""Counting lost packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import Lab
from lab.probe import Losses, Probe, Reply, ReplyReader, count


def _output(*sequence: int) -> str:
    return "PING …\n" + "".join(
        f"[{1000 + n / 100:.6f}] 64 bytes from 10.0.0.1: icmp_seq={s} ttl=64 time=0.1 ms\n"
        for n, s in enumerate(sequence)
    )


def _read(*parts: str) -> list[Reply]:
    reader = ReplyReader()
    for number in range(len(parts)):
        reader.read("".join(parts[: number + 1]))
    return reader.replies


def test_replies_are_read_with_time_and_number() -> None:
    replies = _read(_output(1, 2), "no answer\n", _output(4)[:40], _output(4)[40:])
    assert [reply.sequence for reply in replies] == [1, 2, 4]
    assert replies[1].at == pytest.approx(1000.01)


def test_numbers_do_not_wrap_and_may_go_back_a_little() -> None:
    replies = _read(_output(30_000, 60_000, 65_535, 1, 0, 2))
    assert [reply.sequence for reply in replies] == [30_000, 60_000, 65_535, 65_537, 65_536, 65_538]


def test_a_gap_in_the_midst_and_one_at_the_end() -> None:
    replies = [Reply(0.0, number) for number in (1, 2, 5, 6, 6)]
    assert count(replies, 6, 0.01) == Losses(sent=6, received=4, longest_gap=0.02)
    assert count(replies, 16, 0.01) == Losses(sent=16, received=4, longest_gap=0.10)
    assert count([], 3, 1.0) == Losses(sent=3, received=0, longest_gap=3.0)


@given(st.sets(st.integers(1, 500)), st.integers(500, 600))
def test_lost_is_what_has_no_answer(answered: set[int], sent: int) -> None:
    losses = count([Reply(0.0, number) for number in answered], sent, 1.0)
    assert losses.lost == sent - len(answered)
    assert losses.longest_gap <= losses.lost


@pytest.mark.lab
def test_a_good_link_loses_nothing_and_a_cut_is_seen(lab: Lab) -> None:
    lan = lab.switch("lan", "192.0.2.0/24")
    a, b = lab.host("a", lan), lab.host("b", lan)
    probe = Probe(a, b.ipv4)
    probe.wait_for_replies(20)
    assert probe.stop().lost == 0

    probe = Probe(a, b.ipv4)
    first = probe.wait_for_reply()
    b.link.lose(100)
    with pytest.raises(Exception, match="no answer to a ping"):
        probe.wait_for_reply(timeout=0.3)
    b.link.lose(0)
    back = probe.wait_for_reply()
    losses = probe.stop()
    assert 0 < losses.lost < losses.sent
    assert losses.longest_gap == pytest.approx((back.sequence - first.sequence) / 100, abs=0.2)
