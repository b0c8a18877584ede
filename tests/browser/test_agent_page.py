"""The agent page in a real browser, around Amazon's own library: only the panel in its frame is a stand-in (ccp.js).

The browser is started once. It reaches no network: every request is answered from the page's folder, or refused and
complained of.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import pytest
from aws.agent_page.__main__ import CACHE, main
from aws.agent_page.streams import LibraryError, library
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Frame, Page, Route, sync_playwright

from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.handover import PRIORITIES
from voice_openai_connect.simulator import agent_screen
from voice_openai_connect.simulator.agent_page import saved_page

HERE: Final = Path(__file__).parent
PAGE: Final = "https://agents.example.com"
CCP: Final = "https://town.my.connect.aws"
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS: Final = 20_000
"""Every wait ends with the thing waited for; this is when to stop believing in it."""
CALLER: Final = "+61499999999"
"""The number that the telephone network shows."""
RECORD: Final = {
    "handover": "ok",
    "conversation_id": "6ddd741d-9ef8-5bc8-b01b-25ecc112e25f",
    "caller_phone": "+61491570006",
    "hubspot_contact_id": "101",
    "hubspot_ticket_id": "102",
    "hubspot_ticket_url": "https://app.hubspot.com/contacts/4711/record/0-5/102",
    "summary": "The caller was charged twice in March and wants one of the two payments back. They have the receipts. "
    "The assistant found both payments and could not refund.",
    "intent": "billing_refund",
    "priority": "high",
    "escalation_reason": "caller_asked",
    "route_to_queue": "escalation",
    "matched_by": "token",
}
HOSTILE: Final = '</dd><img src=x onerror="hacked=1"><script>hacked=1</script><iframe src=//evil.example></iframe>'
REFUSED_LINKS: Final = [
    "",
    "javascript:hacked=1",
    "http://app.hubspot.com/contacts/1/record/0-5/2",
    "https://app.hubspot.com.evil.example/contacts/1",
    "https://evil.example/https://app.hubspot.com/contacts/1",
    "https://app.hubspot.com@evil.example/",
    "https://user:word@app.hubspot.com/contacts/1",
    "https://app.hubspot.com:8443/contacts/1",
    "https://app.hubspot.com\\@evil.example/",
    "https://share.hubspot.com/contacts/1",
    "https://hubspot.com/contacts/1",
    "//app.hubspot.com/contacts/1",
    "data:text/html,<script>hacked=1</script>",
]


def _unavailable(why: str) -> NoReturn:
    """Leave the test out, except where nothing may be left out."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a company uploads it."""
    try:
        library(CACHE)
    except LibraryError as error:
        _unavailable(str(error))
    folder = tmp_path_factory.mktemp("site")
    assert main([f"{CCP}/ccp-v2/", "--region", "ap-southeast-2", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    own = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            # CI runs as root, for whom Chromium has no sandbox. It opens nothing but our own files.
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except Error as error:
            why = error.message.splitlines()[0]
            _unavailable(f"no Chromium (apt-get install chromium, or playwright install chromium): {why}")
        yield browser
        browser.close()


@dataclass
class Desk:
    """An agent's desk: the page, what it complained of, and the levers of the panel in its frame."""

    page: Page
    complaints: list[str]
    """Errors, refusals by the content security policy, and requests for anything but the page's own files."""
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def open(self) -> "Desk":
        self.page.goto(f"{PAGE}/index.html")
        return self

    def sign_in(self) -> "Desk":
        self._panel.evaluate("signIn()")
        return self

    def rings(self, contact_id: str, attributes: dict[str, str], **how: Any) -> None:
        """Offer a call to the agent. `how` changes the contact as the panel describes it."""
        self.contacts[contact_id] = contact(contact_id, attributes) | how
        self.update()

    def becomes(self, contact_id: str, state: str) -> None:
        self.contacts[contact_id]["state"] = {"type": state}
        self.update()

    def goes(self, contact_id: str) -> None:
        """Close the contact, as agents do when they have written up a call."""
        del self.contacts[contact_id]
        self.update()

    def update(self) -> None:
        self._panel.evaluate("contacts => update(contacts)", list(self.contacts.values()))

    def until(self, text: str) -> None:
        """Wait until the line above the call says so."""
        self.page.get_by_role("status").get_by_text(text, exact=True).wait_for()

    @property
    def _panel(self) -> Frame:
        """The frame of the panel, once its levers are there."""
        frame = self.page.frame(name="Amazon Connect CCP") or next(
            frame for frame in self.page.frames if frame.url.startswith(CCP)
        )
        frame.wait_for_function("window.signIn !== undefined")
        return frame


def contact(contact_id: str, attributes: dict[str, str]) -> dict[str, Any]:
    """A caller's contact, with the parts that the library reads of what the panel sends."""
    line = {
        "connectionId": f"{contact_id}-line",
        "initial": True,
        "type": "inbound",
        "endpoint": {"type": "phone_number", "phoneNumber": CALLER},
        "state": {"type": "connected"},
    }
    return {
        "contactId": contact_id,
        "type": "voice",
        "state": {"type": "connecting"},
        "queue": {"name": "escalation"},
        "connections": [line],
        "attributes": {name: {"name": name, "value": value} for name, value in attributes.items()},
    }


def rows(page: Page) -> dict[str, str]:
    """What is to be seen of the call, by the rows' names, in the order of the page; of a link its address."""
    read = """() => [...document.querySelectorAll("#call > div")].filter(row => row.checkVisibility()).map(row =>
        [row.querySelector("dt").textContent, row.querySelector("a")?.href ?? row.querySelector("dd").textContent])"""
    return dict(page.evaluate(read))


def contrasts(page: Page) -> dict[str, float]:
    """How far each piece of text that is to be seen stands out from what is behind it (WCAG 2's contrast ratio)."""
    return cast("dict[str, float]", page.evaluate((HERE / "contrast.js").read_text(encoding="utf-8")))


@pytest.fixture
def desk(browser: Browser, site: Path) -> Iterator[Desk]:
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    yield desk_in(context, site)
    context.close()


def desk_in(context: BrowserContext, site: Path) -> Desk:
    complaints: list[str] = []

    def serve(route: Route) -> None:
        origin, name = re.fullmatch(r"([a-z]+://[^/]*)/(?:.*/)?([^/?]*)(?:\?.*)?", route.request.url).groups()  # type: ignore[union-attr]
        if file := file_of(site, origin, name):
            route.fulfill(path=file)
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    context.route("**/*", serve)
    page = context.new_page()
    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return Desk(page, complaints)


def file_of(site: Path, origin: str, name: str) -> Path | None:
    """The file behind an address; none for whatever is not the page's or the panel's."""
    of_the_panel = {"": HERE / "ccp.html", "ccp.js": HERE / "ccp.js"}
    file = (of_the_panel if origin == CCP else {}).get(name, site / name)
    return file if origin in {PAGE, CCP} and file.is_file() else None


def test_a_call_appears_when_it_rings_stays_until_the_agent_closes_it_and_leaves_nothing(desk: Desk) -> None:
    desk.open().until("Connecting to Amazon Connect. If a window opens, sign in there.")
    desk.sign_in().until("Waiting for a call.")
    assert rows(desk.page) == {}

    desk.rings("one", RECORD)
    desk.until("Incoming call, priority high.")
    assert rows(desk.page) == agent_screen.fields(RECORD, caller=CALLER, queue="escalation")
    desk.becomes("one", "connected")
    desk.until("On the line, priority high.")
    desk.becomes("one", "ended")
    desk.until("The call is over, priority high.")
    assert rows(desk.page)["Summary"] == RECORD["summary"]

    desk.goes("one")
    desk.until("Waiting for a call.")
    assert rows(desk.page) == {}
    assert RECORD["summary"] not in desk.page.content()
    assert desk.complaints == []


def test_the_rows_are_those_of_the_terminals_screen_in_the_same_order(desk: Desk) -> None:
    calls: list[dict[str, str]] = [
        RECORD,
        {},
        {"handover": "missing", "summary": "of another call"},
        {"handover": "ok"},
        *({**RECORD, "escalation_reason": reason.value} for reason in Reason),
        RECORD | {"escalation_reason": "tool: wants: a refund"},
        RECORD | {"escalation_reason": "something new"},
        RECORD | {"matched_by": "phone", "priority": "unheard of", "route_to_queue": "billing"},
        RECORD | {"summary": "one\nline\x1b[2J\x07\u202ereversed\u200b  and  spaces "},
        *(RECORD | {"hubspot_ticket_url": link} for link in REFUSED_LINKS),
        RECORD | {"hubspot_ticket_url": "https://app-eu1.hubspot.com/contacts/1/record/0-5/2"},
    ]
    callers = [CALLER, "", "  "]
    said = desk.open().page.evaluate(
        """async calls => {
            const { fieldsOf } = await import("/screen.js");
            return calls.map(call => Object.entries(fieldsOf(call)).filter(([, value]) => value));
        }""",
        [{"attributes": call, "caller": caller, "queue": "Escalation"} for call in calls for caller in callers],
    )
    expected = [agent_screen.fields(call, caller=caller, queue="Escalation") for call in calls for caller in callers]

    assert [dict(row) for row in said] == expected
    order = desk.page.evaluate(
        """() => [...document.querySelectorAll("#call > div")].map(row => {
            const name = row.querySelector("dt").textContent;
            return name === row.dataset.field ? name : `${name} is given ${row.dataset.field}`;
        })"""
    )
    assert order == list(agent_screen.fields(RECORD | {"matched_by": "phone"}, caller="", queue="escalation"))


def test_words_that_look_like_markup_stay_words(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    elements = desk.page.locator("*").count()
    attacked = dict.fromkeys(RECORD, HOSTILE) | {"handover": "ok", "matched_by": "phone"}
    desk.rings("one", attacked, queue={"name": HOSTILE})
    desk.until("Incoming call.")

    assert rows(desk.page)["Summary"] == HOSTILE
    assert desk.page.locator("*").count() == elements
    assert desk.page.evaluate("typeof hacked") == "undefined"
    assert desk.complaints == []


@pytest.mark.parametrize("link", REFUSED_LINKS)
def test_a_link_that_does_not_lead_into_hubspot_is_no_link(link: str) -> None:
    assert "Link" not in agent_screen.fields(RECORD | {"hubspot_ticket_url": link}, caller="", queue="")


def test_a_refused_link_replaces_a_good_one_and_the_good_one_opens_apart(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    desk.rings("one", RECORD)
    link = desk.page.get_by_role("link", name="Open in HubSpot")
    link.wait_for()
    assert link.get_attribute("href") == RECORD["hubspot_ticket_url"]
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")
    desk.rings("one", RECORD | {"hubspot_ticket_url": "javascript:hacked=1"})
    link.wait_for(state="hidden")

    assert desk.page.locator("a").get_attribute("href") == "about:blank"


def test_notes_found_by_number_alone_and_calls_without_notes_say_so(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    desk.rings("one", RECORD | {"matched_by": "phone"})
    desk.page.get_by_text(agent_screen.UNVERIFIED).wait_for()
    desk.rings("two", RECORD | {"handover": "missing"})
    desk.page.get_by_text(agent_screen.NO_CONTEXT).wait_for()

    # The second call's rows, and none of the first's.
    assert rows(desk.page) == {"Caller": CALLER, "Queue": "escalation", "Summary": agent_screen.NO_CONTEXT}
    assert desk.complaints == []


def test_a_page_that_is_opened_again_in_the_middle_of_a_call_shows_it(desk: Desk) -> None:
    desk.contacts["one"] = contact("one", RECORD) | {"state": {"type": "connected"}}
    desk.open().sign_in().until("Waiting for a call.")
    desk.update()
    desk.until("On the line, priority high.")

    assert rows(desk.page)["Caller"] == RECORD["caller_phone"]


def test_a_ticket_that_comes_late_appears(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    desk.rings("one", RECORD | {"hubspot_ticket_id": "", "hubspot_ticket_url": ""})
    desk.page.get_by_text("none yet").wait_for()
    desk.rings("one", RECORD)
    desk.page.get_by_role("link", name="Open in HubSpot").wait_for()

    assert rows(desk.page)["Ticket"] == "102"


def test_chats_and_calls_that_the_agent_makes_never_come_onto_the_screen(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    desk.page.evaluate(
        """() => {
            window.said = [];
            const state = document.getElementById("state");
            new MutationObserver(() => said.push(state.textContent)).observe(state, { childList: true });
        }"""
    )
    outbound = contact("out", RECORD)["connections"][0] | {"type": "outbound"}
    desk.rings("out", RECORD, connections=[outbound])
    desk.becomes("out", "connected")
    desk.rings("chat", RECORD, type="chat")
    desk.becomes("chat", "connected")
    # Whatever they did to the page they did before this call comes: messages arrive in order.
    desk.rings("one", RECORD)
    desk.until("Incoming call, priority high.")

    assert desk.page.evaluate("said") == ["Incoming call, priority high."]


def test_a_library_that_was_changed_is_refused_and_said(desk: Desk, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "connect-streams-min.js").open("a", encoding="utf-8") as file:
        file.write("hacked = 1;")
    changed = desk_in(desk.page.context, tmp_path)
    changed.open().until("Amazon's library did not load: build this page again, and upload all of it.")

    assert "integrity" in " ".join(changed.complaints)
    assert changed.page.evaluate("typeof hacked") == "undefined"


def test_text_stands_out_and_fits_in_light_and_dark_at_any_width(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    faint: dict[str, float] = {}
    looks = {priority: RECORD | {"priority": priority, "matched_by": "phone"} for priority in PRIORITIES}
    for seen, attributes in {**looks, agent_screen.NO_CONTEXT: {"handover": "missing"}}.items():
        desk.rings("one", attributes)
        desk.page.get_by_role("definition").get_by_text(seen, exact=True).wait_for()
        for scheme in ("light", "dark"):
            desk.page.emulate_media(color_scheme=scheme)
            ratios = contrasts(desk.page)
            assert seen in ratios
            faint |= {f"{scheme}: {text}": ratio for text, ratio in ratios.items() if ratio < 4.5}
    assert faint == {}

    desk.rings("one", RECORD | {"summary": "x" * 1_500, "caller_phone": "+" + "1" * 60})
    desk.page.get_by_text("x" * 1_500).wait_for()
    desk.page.set_viewport_size({"width": 320, "height": 640})
    assert desk.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_link_is_reached_by_keyboard_and_shows_that_it_is(desk: Desk) -> None:
    desk.open().sign_in().until("Waiting for a call.")
    desk.rings("one", RECORD)
    desk.until("Incoming call, priority high.")
    desk.page.keyboard.press("Tab")

    assert desk.page.evaluate("document.activeElement.textContent") == "Open in HubSpot"
    assert desk.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert desk.page.locator("html").get_attribute("lang") == "en"


def test_the_page_that_the_demo_leaves_shows_the_call_with_no_network(desk: Desk, tmp_path: Path) -> None:
    attributes = RECORD | {"summary": HOSTILE, "intent": "</script><script>hacked=1</script>"}
    file = tmp_path / "agent.html"
    file.write_text(saved_page(attributes, caller=CALLER, queue="escalation"), encoding="utf-8")
    desk.page.context.unroute_all()
    desk.page.goto(file.as_uri())
    desk.until("A call from the demo")

    assert rows(desk.page) == agent_screen.fields(attributes, caller=CALLER, queue="escalation")
    assert desk.page.evaluate("typeof hacked") == "undefined"
    assert desk.page.evaluate("getComputedStyle(document.getElementById('call')).display") == "grid"
    assert desk.complaints == []


def test_the_page_can_have_its_picture_taken(desk: Desk, tmp_path: Path) -> None:
    """`PICTURE=docs/images/agent.png` keeps it."""
    desk.page.set_viewport_size({"width": 960, "height": 600})
    desk.open().sign_in().until("Waiting for a call.")
    desk.rings("one", RECORD)
    desk.becomes("one", "connected")
    desk.until("On the line, priority high.")
    picture = Path(os.environ.get("PICTURE", tmp_path / "agent.png"))
    desk.page.screenshot(path=picture)

    assert picture.read_bytes().startswith(b"\x89PNG")
