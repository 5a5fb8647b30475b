"""Host numbers: never twice, lowest first, quarantine honoured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.samples import public_key
from wireguard_mesh.core.ipam import Lease, Pool
from wireguard_mesh.model.errors import Exhausted, InvalidValue

CAPACITY = 12
QUARANTINE = 100.0


class PoolMachine(RuleBasedStateMachine):
    """A pool beside the plainest model of one."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(CAPACITY)
        self.used: dict[int, int] = {}  # key's seed → number
        self.leases: dict[int, tuple[int, float]] = {}  # number → key's seed, until
        self.now = 0.0

    def free(self) -> list[int]:
        held = {number for number, (_, until) in self.leases.items() if until > self.now}
        return [n for n in range(1, CAPACITY + 1) if n not in held and n not in self.used.values()]

    @rule(seed=st.integers(1, 30))
    def take(self, seed: int) -> None:
        if seed in self.used:
            return
        former = [n for n, (owner, _) in self.leases.items() if owner == seed and n not in self.used.values()]
        standing = [n for n in former if self.leases[n][1] > self.now or n in self.pool.leases]
        if standing:
            expected = standing[-1]
        elif self.free():
            expected = self.free()[0]
        else:
            with pytest.raises(Exhausted):
                self.pool.take(public_key(seed), self.now)
            return
        number = self.pool.take(public_key(seed), self.now)
        assert number == expected
        self.leases.pop(number, None)
        self.used[seed] = number

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        seed = data.draw(st.sampled_from(sorted(self.used)))
        number = self.used.pop(seed)
        until = self.now + QUARANTINE
        self.pool.give_back(number, public_key(seed), until)
        self.leases[number] = (seed, until)

    @rule(seconds=st.sampled_from([1.0, 50.0, 100.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def copy(self) -> None:
        before, self.pool = self.pool, self.pool.copy()
        assert dict(before.leases) == dict(self.pool.leases)

    @rule()
    def restart(self) -> None:
        self.pool = Pool(CAPACITY, self.used.values(), self.pool.leases.values())

    @invariant()
    def nothing_twice(self) -> None:
        assert len(set(self.used.values())) == len(self.used)
        assert not set(self.pool.leases) & set(self.used.values())


TestPool: Any = PoolMachine.TestCase


@given(st.sets(st.integers(1, 40)), st.integers(1, 20))
def test_free_numbers_come_in_order(used: set[int], count: int) -> None:
    pool = Pool(40, used)
    free = [number for number in range(1, 41) if number not in used][:count]
    assert [pool.take(public_key(seed), 0.0) for seed in range(1, len(free) + 1)] == free


def test_a_slash_8_is_not_enumerated() -> None:
    pool = Pool(2**24 - 2, [1, 16_000_000])
    assert pool.take(public_key(1), 0.0) == 2


def test_a_copy_does_not_change_its_original() -> None:
    pool = Pool(5)
    twin = pool.copy()
    twin.take(public_key(1), 0.0)
    twin.give_back(1, public_key(1), 10.0)
    assert twin.touched == {1}
    assert not pool.touched
    assert not pool.leases
    assert pool.take(public_key(2), 0.0) == 1


def test_the_former_owner_has_its_number_again_and_others_do_not() -> None:
    pool = Pool(5)
    assert pool.take(public_key(1), 0.0) == 1
    pool.give_back(1, public_key(1), 100.0)
    assert pool.take(public_key(2), 1.0) == 2
    assert pool.take(public_key(1), 2.0) == 1


def test_a_quarantine_that_began_anew_counts_from_then() -> None:
    pool = Pool(3)
    pool.take(public_key(1), 0.0)
    pool.give_back(1, public_key(1), 100.0)
    assert pool.take(public_key(1), 10.0) == 1
    pool.give_back(1, public_key(1), 200.0)
    assert pool.take(public_key(2), 150.0) == 2  # the first quarantine's end means nothing now
    assert pool.take(public_key(3), 200.0) == 1


def test_a_key_with_two_quarantined_numbers_gets_the_later_one() -> None:
    key = public_key(1)
    pool = Pool(5, (), [Lease(2, key, 50.0), Lease(3, key, 60.0)])
    assert pool.take(key, 0.0) == 3
    assert pool.take(public_key(2), 50.0) == 1
    assert pool.take(public_key(3), 50.0) == 2


def test_a_quarantined_number_of_a_key_that_has_another_since_simply_expires() -> None:
    key = public_key(1)
    pool = Pool(3)
    pool.take(key, 0.0)
    pool.give_back(1, key, 10.0)
    pool.give_back(2, key, 20.0)
    assert pool.take(public_key(2), 10.0) == 1


def test_exhaustion_says_how_many_come_back_and_when() -> None:
    pool = Pool(2)
    for seed in (1, 2):
        pool.take(public_key(seed), 0.0)
    with pytest.raises(Exhausted, match=r"all 2 addresses.*larger -network"):
        pool.take(public_key(3), 0.0)
    pool.give_back(2, public_key(2), 600.0)
    with pytest.raises(Exhausted, match=r"1 of them given back.*in 5 min"):
        pool.take(public_key(3), 300.0)
    assert pool.take(public_key(3), 600.0) == 2


@pytest.mark.parametrize("used", [[1, 1], [0], [6]])
def test_a_database_that_contradicts_itself_is_refused(used: list[int]) -> None:
    with pytest.raises(InvalidValue, match="used twice"):
        Pool(5, used)


def numbers_left(pool: Pool) -> list[int]:
    """What strangers would get, one after the other."""
    twin = pool.copy()
    return [twin.take(public_key(100 + turn), -1.0) for turn in range(twin.free)]


def test_what_another_server_gave_and_took_is_followed() -> None:
    pool = Pool(10, used=[1, 2], leases=[Lease(3, public_key(3), 50.0), Lease(4, public_key(4), 50.0)])
    # 1 left, 2 stays, 4 is free again; newcomers have numbers out of their turn, one of them that of 3.
    pool.follow([1, 2], [2, 3, 6, 9, 10], [Lease(1, public_key(1), 99.0)], [3, 4])
    assert dict(pool.leases) == {1: Lease(1, public_key(1), 99.0)}
    assert numbers_left(pool) == [4, 5, 7, 8]
    assert pool.copy().take(public_key(1), 0.0) == 1
    # What comes in its turn.
    pool.follow([], [4, 5], [], [])
    assert numbers_left(pool) == [7, 8]
    # A lease that is made anew, and one that ends with its owner's return.
    pool.follow([6], [], [Lease(6, public_key(6), 9.0)], [])
    pool.follow([], [6], [Lease(1, public_key(7), 120.0)], [6])
    assert pool.leases[1].public_key == public_key(7)
    assert numbers_left(pool) == [7, 8]


@pytest.mark.parametrize("taken", [[2], [5, 5000], [0]])
def test_what_nobody_can_have_given_is_refused(taken: list[int]) -> None:
    with pytest.raises(InvalidValue, match="used twice, or is none of the network"):
        Pool(10, used=[2]).follow([], taken, [], [])


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_whatever_is_taken_the_rest_is_left(used: set[int], after: set[int], leased: set[int]) -> None:
    pool = Pool(40, used)
    leases = [Lease(number, public_key(number), 9.0) for number in leased - after]
    pool.follow(used, after, leases, [])
    assert numbers_left(pool) == sorted(set(range(1, 41)) - after - leased)
    assert pool.free == 40 - len(after | leased)
