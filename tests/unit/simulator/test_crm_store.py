from typing import Any

import pytest

from voice_openai_connect.simulator.crm_store import Portal, PortalError

TICKET = {"subject": "Help", "hs_pipeline": "0", "hs_pipeline_stage": "1"}


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def portal(time: Time) -> Portal:
    portal = Portal(clock=time, index_lag_s=5, default_region="AU")
    for kind in ("contacts", "tickets"):
        unique = {"groupName": "g", "name": "voice_id", "label": "id", "type": "string", "fieldType": "text"}
        portal.add_property(kind, {**unique, "hasUniqueValue": True})
    return portal


def contact(**properties: str) -> dict[str, Any]:
    return {"properties": {"lastname": "Smith", **properties}}


def by(name: str, value: str, operator: str = "EQ") -> dict[str, Any]:
    return {"filterGroups": [{"filters": [{"propertyName": name, "operator": operator, "value": value}]}]}


def refused(error: PortalError) -> list[str]:
    return [e["code"] for e in error.body["errors"]]


def test_a_search_sees_a_record_only_after_the_lag(portal: Portal, time: Time) -> None:
    made = portal.create("contacts", contact(phone="0412 345 678"))
    assert portal.search("contacts", by("phone", "0412 345 678")) == []
    time.now += 5
    assert portal.search("contacts", by("phone", "0412 345 678")) == [made]


def test_a_search_sees_the_old_value_until_the_lag_is_over(portal: Portal, time: Time) -> None:
    made = portal.create("contacts", contact(phone="+61412345678"))
    time.now += 5
    portal.update("contacts", made, {"properties": {"phone": "+61487654321"}})
    assert portal.search("contacts", by("phone", "+61412345678")) == [made]
    time.now += 5
    assert portal.search("contacts", by("phone", "+61412345678")) == []


def test_a_read_by_a_unique_property_sees_a_record_at_once(portal: Portal) -> None:
    made = portal.create("contacts", contact(voice_id="x"))
    assert portal.get("contacts", "x", "voice_id") is made


def test_only_unique_properties_name_a_record(portal: Portal) -> None:
    with pytest.raises(PortalError, match="not a unique property"):
        portal.get("contacts", "Smith", "lastname")


def test_numbers_are_searched_without_their_country_code(portal: Portal, time: Time) -> None:
    made = portal.create("contacts", contact(phone="0412 345 678"))
    time.now += 5
    name = "hs_searchable_calculated_phone_number"
    assert portal.search("contacts", by(name, "412345678")) == [made]
    assert portal.search("contacts", by(name, "*345678", "CONTAINS_TOKEN")) == [made]
    assert portal.search("contacts", by(name, "61412345678")) == []


def test_a_contact_needs_a_name_or_an_address(portal: Portal) -> None:
    with pytest.raises(PortalError, match="email, firstname or lastname"):
        portal.create("contacts", {"properties": {"phone": "+61412345678"}})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"nonsense": "x"}, "PROPERTY_DOESNT_EXIST"),
        ({"hs_ticket_priority": "high"}, "INVALID_OPTION"),
        ({"hs_pipeline_stage": "9"}, "INVALID_OPTION"),
        ({"hs_pipeline": "9"}, "INVALID_OPTION"),
        ({"subject": ""}, "REQUIRED_FIELD"),
        ({"hs_object_id": "1"}, "READ_ONLY_VALUE"),
        ({"content": 5}, "INVALID_STRING"),
        ({"content": "x" * 65_537}, "INVALID_STRING"),
    ],
)
def test_a_ticket_with_a_wrong_value_is_refused_and_not_made(portal: Portal, change: dict[str, Any], code: str) -> None:
    with pytest.raises(PortalError) as caught:
        portal.create("tickets", {"properties": {**TICKET, **change}})
    assert caught.value.status == 400
    assert refused(caught.value) == [code]
    assert portal.records["tickets"] == {}


def test_a_rule_of_the_administrator_is_kept(portal: Portal) -> None:
    portal.required["tickets"].add("content")
    with pytest.raises(PortalError) as caught:
        portal.create("tickets", {"properties": TICKET})
    assert refused(caught.value) == ["REQUIRED_FIELD"]


@pytest.mark.parametrize("status", [400, 409])
def test_a_unique_value_is_given_once(portal: Portal, status: int) -> None:
    portal.clash_status = status
    portal.create("tickets", {"properties": {**TICKET, "voice_id": "x"}})
    with pytest.raises(PortalError, match="CONFLICTING_UNIQUE_VALUE") as caught:
        portal.create("tickets", {"properties": {**TICKET, "voice_id": "x"}})
    assert caught.value.status == status


def test_a_record_may_be_given_its_own_unique_value_again(portal: Portal) -> None:
    made = portal.create("contacts", contact(voice_id="x"))
    portal.update("contacts", made, {"properties": {"voice_id": "x"}})


def test_a_taken_address_names_its_holder(portal: Portal) -> None:
    made = portal.create("contacts", contact(email="ann@example.com"))
    with pytest.raises(PortalError, match=f"Existing ID: {made.id}"):
        portal.create("contacts", contact(email="ann@example.com"))


@pytest.mark.parametrize(("type_id", "target"), [(15, "101"), (16, "999")])
def test_an_association_needs_the_right_type_and_a_target(portal: Portal, type_id: int, target: str) -> None:
    assert portal.create("contacts", contact()).id == "101"
    link = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}
    with pytest.raises(PortalError):
        portal.create("tickets", {"properties": TICKET, "associations": [{"to": {"id": target}, "types": [link]}]})
    assert portal.records["tickets"] == {}


def test_linking_twice_is_linking_once(portal: Portal) -> None:
    person, ticket = portal.create("contacts", contact()), portal.create("tickets", {"properties": TICKET})
    for _ in range(2):
        portal.associate("tickets", ticket.id, "contacts", person.id)
    assert ticket.associations == {("contacts", person.id)}


def test_a_property_is_made_once(portal: Portal) -> None:
    with pytest.raises(PortalError) as caught:
        portal.add_property(
            "contacts", {"groupName": "g", "name": "voice_id", "label": "id", "type": "string", "fieldType": "text"}
        )
    assert caught.value.status == 409


def test_more_than_five_filter_groups_are_refused(portal: Portal) -> None:
    with pytest.raises(PortalError):
        portal.search("contacts", {"filterGroups": [{"filters": []}] * 6})


def test_results_come_in_the_order_asked_for(portal: Portal, time: Time) -> None:
    old = portal.create("contacts", contact())
    time.now += 10
    new = portal.create("contacts", contact())
    time.now += 10
    assert portal.search("contacts", {"sorts": [{"propertyName": "createdate", "direction": "DESCENDING"}]}) == [
        new,
        old,
    ]


def test_what_is_changed_in_one_account_is_not_changed_in_another(portal: Portal, time: Time) -> None:
    portal.properties["tickets"]["hs_ticket_priority"].options = ("P1",)
    other = Portal(clock=time, index_lag_s=5, default_region=None)
    assert other.properties["tickets"]["hs_ticket_priority"].options == ("LOW", "MEDIUM", "HIGH", "URGENT")


def test_a_write_has_nothing_in_it_but_what_hubspot_describes(portal: Portal) -> None:
    made = portal.create("contacts", contact())
    with pytest.raises(PortalError, match="unknown fields associations"):
        portal.update("contacts", made, {"properties": {"lastname": "S"}, "associations": []})
    with pytest.raises(PortalError, match="unknown fields idProperty"):
        portal.create("contacts", {**contact(), "idProperty": "email"})
