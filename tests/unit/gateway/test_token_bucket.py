from voice_openai_connect.gateway.token_bucket import TokenBucket


def test_a_burst_may_happen_at_once_and_then_no_more() -> None:
    bucket = TokenBucket(per_second=10, burst=3)

    assert [bucket.take(now=5.0) for _ in range(5)] == [True, True, True, False, False]


def test_in_the_long_run_it_happens_as_often_as_agreed_whatever_is_asked() -> None:
    bucket = TokenBucket(per_second=10, burst=3)
    taken = sum(bucket.take(now=tick / 128) for tick in range(128 * 10))

    assert taken == 3 + 10 * 10 - 1


def test_what_is_refused_delays_nothing() -> None:
    bucket = TokenBucket(per_second=1, burst=1)
    assert bucket.take(now=0.0)
    assert not any(bucket.take(now=0.5) for _ in range(100))

    assert bucket.take(now=1.0)


def test_a_long_rest_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(per_second=10, burst=3)
    assert bucket.take(now=0.0)

    assert [bucket.take(now=1e6) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    bucket = TokenBucket(per_second=10, burst=1)
    assert bucket.take(now=100.0)

    assert not bucket.take(now=100.0)
    assert not bucket.take(now=50.0)
