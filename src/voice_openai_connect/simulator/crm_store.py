"""What a simulated HubSpot portal knows, and the rules it keeps: properties, uniqueness, pipelines, a slow index.

The rules and the wording of errors follow HubSpot's public documentation of its CRM API (2026-09). Everything here
is in memory and knows nothing of HTTP except the status an error carries.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import phonenumbers

Json = dict[str, Any]

TEXT_CHARS: Final = 65_536
UNIQUE_PER_OBJECT: Final = 10
ASSOCIATIONS: Final[dict[tuple[str, str], int]] = {("tickets", "contacts"): 16, ("contacts", "tickets"): 15}
_ALWAYS_REQUIRED: Final[dict[str, frozenset[str]]] = {
    "contacts": frozenset(),
    "tickets": frozenset({"subject", "hs_pipeline_stage"}),
}
_EMPTY: Final[Mapping[str, str]] = {}


class PortalError(Exception):
    """A refusal, with the status and the body that HubSpot gives."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"status": "error", "message": message, "category": category, **more}


def invalid_properties(problems: list[Json]) -> PortalError:
    """The 400 that lists what is wrong with property values, inside its message as HubSpot does it."""
    errors = [{"message": p["message"], "code": p["error"], "context": {"propertyName": [p["name"]]}} for p in problems]
    message = "Property values were not valid: " + json.dumps(problems, separators=(",", ":"))
    return PortalError(400, "VALIDATION_ERROR", message, errors=errors)


def _problem(name: str, error: str, message: str) -> Json:
    return {"isValid": False, "message": message, "error": error, "name": name}


@dataclass
class Property:
    """A property of contacts or tickets."""

    name: str
    label: str
    kind: str = "string"
    field_type: str = "text"
    group: str = "information"
    unique: bool = False
    options: tuple[str, ...] = ()
    read_only: bool = False
    description: str = ""


@dataclass
class Record:
    """A contact or a ticket. `written` is every state it has had, and since when: searches are shown an old one."""

    id: str
    properties: dict[str, str]
    created: float
    updated: float
    written: list[tuple[float, dict[str, str]]] = field(default_factory=list[tuple[float, dict[str, str]]])
    associations: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def as_of(self, time: float) -> Mapping[str, str] | None:
        """The properties it had then, or None if there was no such record."""
        seen = [properties for at, properties in self.written if at <= time]
        return seen[-1] if seen else None


_DEFAULTS: Final[dict[str, tuple[Property, ...]]] = {
    "contacts": (
        Property("email", "Email", unique=True),
        Property("firstname", "First Name"),
        Property("lastname", "Last Name"),
        Property("phone", "Phone Number", field_type="phonenumber"),
        Property("mobilephone", "Mobile Phone Number", field_type="phonenumber"),
        Property("createdate", "Create Date", kind="datetime", field_type="date", read_only=True),
        Property("lastmodifieddate", "Last Modified Date", kind="datetime", field_type="date", read_only=True),
        Property("hs_object_id", "Record ID", kind="number", field_type="number", read_only=True),
        Property("hs_calculated_phone_number", "Calculated Phone Number", read_only=True),
        Property("hs_calculated_mobile_number", "Calculated Mobile Number", read_only=True),
        Property("hs_searchable_calculated_phone_number", "Phone without country code", read_only=True),
        Property("hs_searchable_calculated_mobile_number", "Mobile without country code", read_only=True),
    ),
    "tickets": (
        Property("subject", "Ticket name"),
        Property("content", "Ticket description", field_type="textarea"),
        Property("hs_pipeline", "Pipeline", kind="enumeration", field_type="select"),
        Property("hs_pipeline_stage", "Ticket status", kind="enumeration", field_type="select"),
        Property(
            "hs_ticket_priority",
            "Priority",
            kind="enumeration",
            field_type="select",
            options=("LOW", "MEDIUM", "HIGH", "URGENT"),
        ),
        Property("createdate", "Create Date", kind="datetime", field_type="date", read_only=True),
        Property("hs_lastmodifieddate", "Last Modified Date", kind="datetime", field_type="date", read_only=True),
        Property("hs_object_id", "Record ID", kind="number", field_type="number", read_only=True),
    ),
}


class Portal:
    """One HubSpot account. Keys of the dictionaries are object types (``contacts``, ``tickets``) or ids."""

    def __init__(self, *, clock: Callable[[], float], index_lag_s: float, default_region: str | None) -> None:
        self.index_lag_s = index_lag_s
        self.clash_status = 400
        """What a unique clash is answered with; both 400 and 409 have been seen."""
        self.required: dict[str, set[str]] = {"contacts": set(), "tickets": set()}
        """Properties that an administrator has made required; writes without them are refused."""
        self.pipelines: dict[str, dict[str, str]] = {"0": {"1": "OPEN", "2": "OPEN", "3": "OPEN", "4": "CLOSED"}}
        self.records: dict[str, dict[str, Record]] = {"contacts": {}, "tickets": {}}
        self.properties = {kind: {p.name: replace(p) for p in defaults} for kind, defaults in _DEFAULTS.items()}
        self._clock = clock
        self.default_region = default_region
        self._last_id = 100

    # --- Reading

    def get(self, kind: str, record_id: str, id_property: str | None = None) -> Record:
        """The record by its id or by a unique property. Never searches, so it knows the newest state."""
        if id_property is None:
            found = self.records[kind].get(record_id)
        else:
            known = self.properties[kind].get(id_property)
            if known is None or not known.unique:
                message = f"{id_property} is not a unique property of {kind}"
                raise PortalError(400, "VALIDATION_ERROR", message)
            found = self._by_unique(kind, id_property, record_id)
        if found is None:
            raise PortalError(404, "OBJECT_NOT_FOUND", "resource not found")
        return found

    def search(self, kind: str, request: Json) -> list[Record]:
        """Records that match any of the filter groups, as far as the index has heard of them."""
        groups = _items(request, "filterGroups")
        if len(groups) > 5 or any(len(_items(g, "filters")) > 6 for g in groups):
            raise PortalError(400, "VALIDATION_ERROR", "too many filter groups or filters")
        indexed = self._clock() - self.index_lag_s
        found: list[tuple[Record, Mapping[str, str]]] = []
        for record in self.records[kind].values():
            seen = record.as_of(indexed)
            if seen is not None and (not groups or any(self._matches(kind, seen, g) for g in groups)):
                found.append((record, seen))
        for sort in _items(request, "sorts"):
            name, down = str(sort["propertyName"]), sort.get("direction") == "DESCENDING"
            found.sort(key=lambda pair, name=name: pair[1].get(name, ""), reverse=down)
        return [record for record, _ in found]

    def _matches(self, kind: str, seen: Mapping[str, str], group: Json) -> bool:
        return all(self._passes(kind, seen, f) for f in _items(group, "filters"))

    def _passes(self, kind: str, seen: Mapping[str, str], rule: Json) -> bool:
        name, operator, wanted = rule.get("propertyName", ""), rule.get("operator"), str(rule.get("value", ""))
        if name not in self.properties[kind]:
            raise PortalError(400, "VALIDATION_ERROR", f"There was a problem with the request: no property {name}")
        value = seen.get(name, "")
        if operator == "EQ":
            return value.casefold() == wanted.casefold() and value != ""
        if operator == "CONTAINS_TOKEN":
            return _token_matches(value.casefold(), wanted.casefold())
        raise PortalError(400, "VALIDATION_ERROR", f"operator {operator} is not known here")

    def _by_unique(self, kind: str, name: str, value: str) -> Record | None:
        return next((r for r in self.records[kind].values() if r.properties.get(name) == value and value), None)

    # --- Writing

    def create(self, kind: str, request: Json) -> Record:
        """Make a record after every check. Raises `PortalError` and makes nothing if one of them fails."""
        _check_fields(request, {"properties", "associations", "objectWriteTraceId"})
        properties = self._checked(kind, request.get("properties"), before=_EMPTY)
        if kind == "contacts" and not any(properties.get(n) for n in ("email", "firstname", "lastname")):
            message = "At least one of email, firstname or lastname is required to create a contact"
            raise PortalError(400, "VALIDATION_ERROR", message)
        links = self._checked_associations(kind, _items(request, "associations"))
        self._last_id += 1
        now = self._clock()
        record = Record(id=str(self._last_id), properties={}, created=now, updated=now, associations=links)
        self.records[kind][record.id] = record
        self._write(kind, record, properties)
        for other_kind, other_id in links:
            self.records[other_kind][other_id].associations.add((kind, record.id))
        return record

    def update(self, kind: str, record: Record, request: Json) -> Record:
        """Change properties; an empty value clears one. Associations have calls of their own."""
        _check_fields(request, {"properties", "objectWriteTraceId"})
        self._write(kind, record, self._checked(kind, request.get("properties"), before=record.properties, own=record))
        return record

    def associate(self, kind: str, record_id: str, other_kind: str, other_id: str) -> None:
        """Link two records by the default association; linking them again changes nothing."""
        record, other = self.get(kind, record_id), self.get(other_kind, other_id)
        record.associations.add((other_kind, other.id))
        other.associations.add((kind, record.id))

    def add_property(self, kind: str, request: Json) -> Property:
        """Make a custom property. 409 if the name is taken."""
        missing = [n for n in ("groupName", "name", "label", "type", "fieldType") if not request.get(n)]
        if missing:
            raise PortalError(400, "VALIDATION_ERROR", f"Invalid input JSON: missing {', '.join(missing)}")
        name = request["name"]
        if name in self.properties[kind]:
            raise PortalError(409, "OBJECT_ALREADY_EXISTS", f"A property named '{name}' already exists.")
        unique = bool(request.get("hasUniqueValue"))
        if unique and sum(p.unique for p in self.properties[kind].values()) >= UNIQUE_PER_OBJECT:
            raise PortalError(400, "VALIDATION_ERROR", "the limit of unique properties has been reached")
        made = Property(
            name,
            request["label"],
            kind=request["type"],
            field_type=request["fieldType"],
            group=request["groupName"],
            unique=unique,
            options=tuple(option["value"] for option in _items(request, "options")),
            description=request.get("description", ""),
        )
        self.properties[kind][name] = made
        return made

    def _write(self, kind: str, record: Record, properties: Mapping[str, str]) -> None:
        now = self._clock()
        record.properties.update(properties)
        record.updated = now
        modified = "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"
        record.properties |= {
            "createdate": timestamp(record.created),
            modified: timestamp(now),
            "hs_object_id": record.id,
            **(self._calculated(record.properties) if kind == "contacts" else {}),
        }
        record.written.append((now, dict(record.properties)))

    def _calculated(self, properties: Mapping[str, str]) -> dict[str, str]:
        """What HubSpot derives from the numbers by itself: the whole number, and the one without country code."""
        derived: dict[str, str] = {}
        for source, name in (("phone", "phone"), ("mobilephone", "mobile")):
            try:
                number = phonenumbers.parse(properties.get(source, ""), self.default_region)
            except phonenumbers.NumberParseException:
                continue
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            derived[f"hs_calculated_{name}_number"] = e164
            national = phonenumbers.national_significant_number(number)
            derived[f"hs_searchable_calculated_{name}_number"] = national
        return derived

    def _checked(
        self, kind: str, properties: object, *, before: Mapping[str, str], own: Record | None = None
    ) -> dict[str, str]:
        if not isinstance(properties, dict):
            raise PortalError(400, "VALIDATION_ERROR", "Invalid input JSON: `properties` is missing")
        values: dict[str, str] = properties  # pyright: ignore[reportUnknownVariableType] - checked just below
        problems = [p for name, value in values.items() if (p := self._complaint(kind, name, value))]
        after = {**before, **values}
        needed = self.required[kind] | _ALWAYS_REQUIRED[kind]
        problems += [
            _problem(name, "REQUIRED_FIELD", f"{name} is required") for name in sorted(needed) if not after.get(name)
        ]
        if kind == "tickets" and not problems:
            problems += self._stage_complaint(after)
        if problems:
            raise invalid_properties(problems)
        self._check_unique(kind, values, own)
        return values

    def _complaint(self, kind: str, name: str, value: object) -> Json | None:
        known = self.properties[kind].get(name)
        if known is None:
            return _problem(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
        if known.read_only:
            return _problem(name, "READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.')
        if not isinstance(value, str) or len(value) > TEXT_CHARS:
            return _problem(name, "INVALID_STRING", f'"{name}" must be text of at most {TEXT_CHARS} characters')
        if known.options and value and value not in known.options:
            allowed = ", ".join(known.options)
            return _problem(name, "INVALID_OPTION", f"{value} was not one of the allowed options: [{allowed}]")
        return None

    def _stage_complaint(self, ticket: Mapping[str, str]) -> list[Json]:
        pipeline = ticket.get("hs_pipeline") or next(iter(self.pipelines))
        if pipeline not in self.pipelines:
            return [_problem("hs_pipeline", "INVALID_OPTION", f"{pipeline} is not a pipeline")]
        if ticket["hs_pipeline_stage"] not in self.pipelines[pipeline]:
            return [_problem("hs_pipeline_stage", "INVALID_OPTION", "not a stage of this pipeline")]
        return []

    def _check_unique(self, kind: str, values: Mapping[str, str], own: Record | None) -> None:
        for name, value in values.items():
            if not self.properties[kind][name].unique or not value:
                continue
            holder = self._by_unique(kind, name, value)
            if holder is None or holder is own:
                continue
            if name == "email":
                raise PortalError(409, "CONFLICT", f"Contact already exists. Existing ID: {holder.id}")
            text = f"{holder.id} already has that value."
            problem = _problem(name, "CONFLICTING_UNIQUE_VALUE", text)
            error = invalid_properties([problem])
            error.status = self.clash_status
            raise error

    def _checked_associations(self, kind: str, wanted: list[Json]) -> set[tuple[str, str]]:
        links: set[tuple[str, str]] = set()
        for association in wanted:
            target = str(association.get("to", {}).get("id", ""))
            for link in _items(association, "types"):
                if link.get("associationCategory") != "HUBSPOT_DEFINED":
                    raise PortalError(400, "VALIDATION_ERROR", "associationCategory must be HUBSPOT_DEFINED here")
                other = next(
                    (b for (a, b), t in ASSOCIATIONS.items() if (a, t) == (kind, link.get("associationTypeId"))), ""
                )
                if not other:
                    message = f"{link.get('associationTypeId')} is not an association from {kind}"
                    raise PortalError(400, "VALIDATION_ERROR", message)
                if target not in self.records[other]:
                    message = f"One or more associations are not valid: {other} {target} does not exist"
                    raise PortalError(400, "VALIDATION_ERROR", message)
                links.add((other, target))
        return links


def _check_fields(request: Json, known: set[str]) -> None:
    """Nothing but what HubSpot's description of the request has."""
    if unknown := sorted(request.keys() - known):
        raise PortalError(400, "VALIDATION_ERROR", f"Invalid input JSON: unknown fields {', '.join(unknown)}")


def _items(request: Json, name: str) -> list[Json]:
    """The objects of a list in a request; none if it is missing or null."""
    return [dict(item) for item in request.get(name) or ()]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch in HubSpot's form."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _token_matches(value: str, pattern: str) -> bool:
    """HubSpot's CONTAINS_TOKEN: whole words, with `*` as a wildcard at either end."""
    words = value.split()
    bare = pattern.strip("*")
    if pattern.startswith("*") and pattern.endswith("*"):
        return any(bare in word for word in words)
    if pattern.startswith("*"):
        return any(word.endswith(bare) for word in words)
    if pattern.endswith("*"):
        return any(word.startswith(bare) for word in words)
    return bare in words
