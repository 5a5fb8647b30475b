"""Token buckets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from wireguard_mesh.core.ratelimit import RateLimited, RateLimiter, source_of


def test_a_burst_and_then_the_rate() -> None:
    limiter = RateLimiter(3, 2.0, what="too many registrations")
    for _ in range(3):
        limiter.take("a", 0.0)
    with pytest.raises(RateLimited) as caught:
        limiter.take("a", 0.0)
    assert caught.value.retry_after == 0.5
    limiter.take("b", 0.0)
    limiter.take("a", 0.5)
    with pytest.raises(RateLimited):
        limiter.take("a", 0.5)


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    limiter = RateLimiter(2, 1.0, what="too many registrations")
    limiter.take("a", 0.0)
    for _ in range(2):
        limiter.take("a", 1000.0)
    with pytest.raises(RateLimited):
        limiter.take("a", 1000.0)


def test_no_burst_is_no_limit() -> None:
    limiter = RateLimiter(0, 0, what="too many registrations")
    for _ in range(100):
        limiter.take("a", 0.0)


def test_the_source_unused_for_longest_gives_way() -> None:
    limiter = RateLimiter(2, 0.001, max_sources=2, what="too many registrations")
    for source in ("old", "new", "new", "newest"):
        limiter.take(source, 0.0)
    with pytest.raises(RateLimited):
        limiter.take("new", 0.0)
    for _ in range(2):
        limiter.take("old", 0.0)  # forgotten, so it starts anew


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_a_subscriber_is_one_source(address: str, source: str) -> None:
    assert str(source_of(ip_address(address))) == source
