from wireguard_mesh.client.clock import now


def test_the_monotonic_clock_never_goes_back() -> None:
    moments = [now() for _ in range(100)]
    assert moments == sorted(moments, key=lambda moment: moment.monotonic)
    assert moments[0].wall > 1_700_000_000
