from bench.load.trouble import Trouble


def test_its_share_of_the_occasions_is_struck_and_counted():
    trouble = Trouble(0.05, seed=3)
    struck = [trouble.strikes("model_drops", "model_closes") for _ in range(2_000)]

    assert 60 <= sum(kind is not None for kind in struck) <= 140
    assert trouble.injected.total() == sum(kind is not None for kind in struck)
    assert set(trouble.injected) == {"model_drops", "model_closes"}


def test_without_a_share_nothing_happens():
    trouble = Trouble()

    assert {trouble.strikes("socket_reset") for _ in range(1_000)} == {None}
