import pytest

from bench.load.fleet import Fleet, Instance, NobodyReadyError


@pytest.fixture
def fleet() -> Fleet:
    """Two instances that have not been started: the choice is the balancer's alone."""
    return Fleet({}, ("first", "second"))


async def name_of(instance: Instance) -> str:
    return instance.name


async def test_a_request_goes_to_the_ready_instance_with_the_fewest_streams(fleet: Fleet):
    first, second = fleet.instances
    first.streams = 1
    assert await fleet.balanced(name_of) == "second"

    second.ready = False
    assert await fleet.balanced(name_of) == "first"


async def test_a_preferred_instance_gets_everything_while_it_is_ready(fleet: Fleet):
    first, _ = fleet.instances
    fleet.preferred, first.streams = first, 99
    assert await fleet.balanced(name_of) == "first"

    first.ready = False
    assert await fleet.balanced(name_of) == "second"


async def test_a_refused_connection_goes_to_the_next_instance(fleet: Fleet):
    async def ask(instance: Instance) -> str:
        if instance.name == "first":
            raise ConnectionRefusedError
        return instance.name

    assert await fleet.balanced(ask) == "second"
    assert not fleet.instances[0].ready


async def test_a_request_that_breaks_off_is_not_repeated(fleet: Fleet):
    asked: list[str] = []

    async def ask(instance: Instance) -> str:
        asked.append(instance.name)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await fleet.balanced(ask)
    assert asked == ["first"]


async def test_where_nobody_is_ready_everybody_is_asked_all_the_same(fleet: Fleet):
    for instance in fleet.instances:
        instance.ready = False
    assert await fleet.balanced(name_of) == "first"

    async def refuse(_: Instance) -> str:
        raise ConnectionRefusedError

    with pytest.raises(NobodyReadyError):
        await fleet.balanced(refuse)
