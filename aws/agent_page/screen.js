// What an agent sees of a call. Everything is written as text: whatever a caller or a model says stays words.
//
// The rows and their order are those of index.html; simulator/agent_screen.py draws the same ones in a terminal.

const NO_CONTEXT = "No context came with this call. Please ask the caller what it is about.";
const UNVERIFIED = "Found by the caller's number alone. Ask who is calling before you rely on these notes.";
const WITHHELD = "number withheld";

const REASONS = new Map([
  ["caller_asked", "the caller asked for a person"],
  ["tool", "the assistant asked for a person"],
  ["key", "the caller pressed the key for a person"],
  ["operator", "an operator moved the call"],
  ["stopping", "the assistant had to be stopped"],
  ["repeated_failure", "the assistant failed repeatedly"],
  ["model_lost", "the assistant was lost"],
  ["time_limit", "the call had lasted too long"],
  ["context_lost", "the call was interrupted"],
]);

/**
 * The rows of a call by name, as text; an empty one is not shown.
 *
 * `attributes` are the contact's, as the contact flow set them; `caller` is the number that the telephone network
 * shows, `queue` the name of the contact's queue.
 */
export function fieldsOf({ attributes, caller = "", queue = "" }) {
  const said = (name) => plain(attributes[name] ?? "");
  if (attributes.handover !== "ok") {
    return { Caller: plain(caller) || WITHHELD, Queue: plain(queue), Summary: NO_CONTEXT };
  }
  return {
    Caller: said("caller_phone") || plain(caller) || WITHHELD,
    Verify: said("matched_by") === "phone" ? UNVERIFIED : "",
    Reason: inWords(said("escalation_reason")),
    Intent: said("intent").replaceAll("_", " "),
    Priority: said("priority") || "normal",
    Queue: queueInWords(plain(queue), said("route_to_queue")),
    Summary: said("summary") || "No summary.",
    Ticket: said("hubspot_ticket_id") || "none yet",
    Link: ticketLink(said("hubspot_ticket_url")),
    Contact: said("hubspot_contact_id"),
    Reference: said("conversation_id"),
  };
}

/** Put a call on the screen, in place of the one before. */
export function show(call) {
  const fields = fieldsOf(call);
  const screen = document.getElementById("call");
  for (const row of document.querySelectorAll("[data-field]")) {
    const value = fields[row.dataset.field] ?? "";
    const link = row.querySelector("a");
    row.hidden = value === "";
    if (link) link.href = value || "about:blank";
    else row.querySelector("dd").textContent = value;
  }
  // For the style sheet.
  screen.dataset.priority = fields.Priority ?? "";
  screen.dataset.context = call.attributes.handover === "ok" ? "here" : "missing";
  screen.hidden = false;
}

/** Take the call off the screen, words and all. */
export function clear() {
  for (const row of document.querySelectorAll("[data-field]")) {
    const link = row.querySelector("a");
    if (link) link.removeAttribute("href");
    else row.querySelector("dd").textContent = "";
  }
  document.getElementById("call").hidden = true;
}

/** Say how things are, in one line that screen readers read out, and in the title of the window. */
export function tell(text) {
  const state = document.getElementById("state");
  if (state.textContent === text) return;
  state.textContent = text;
  document.title = text;
}

/** The address if it is a record in HubSpot, otherwise nothing: an attribute may hold any address. */
function ticketLink(address) {
  return /^https:\/\/app(-[a-z0-9]+)?\.hubspot\.com\/[A-Za-z0-9/._~?=&%-]*$/.test(address) ? address : "";
}

/** `key` as an agent would say it; for `tool: …` the model's own words. */
function inWords(reason) {
  const [code, ...ownWords] = reason.split(":");
  return ownWords.join(":").trim() || REASONS.get(code) || reason;
}

/** The queue the contact is in, and the one that was wished for where that is another. */
function queueInWords(queue, wished) {
  return queue.toLowerCase().includes(wished.toLowerCase()) ? queue : `${queue} (asked for: ${wished})`.trim();
}

/** Without anything that is not to be seen: control and direction characters, and more than one space. */
function plain(text) {
  return String(text).replace(/\p{C}/gu, " ").split(/\s+/u).filter(Boolean).join(" ");
}
