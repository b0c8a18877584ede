// Follows the agent's calls through Amazon's own library (amazon-connect-streams), and puts them on the screen.

import { clear, show, tell } from "./screen.js";

const WAITING = "Waiting for a call.";

/** What a contact's state is called here, by the library's name for it. */
const STATES = {
  incoming: "Incoming call",
  connecting: "Incoming call",
  connected: "On the line",
  ended: "The call is over",
  missed: "The call was missed",
  rejected: "The call was declined",
  error: "The call failed",
};

/** The contact on the screen: an agent may have several, and the last to change is looked at. */
let shown = null;

/** Show a caller's contact until the agent closes it; chats, tasks and calls that the agent makes are not ours. */
function follow(contact) {
  const line = contact.getInitialConnection();
  if (contact.getType() !== connect.ContactType.VOICE || !line || !contact.isInbound()) return;
  const id = contact.getContactId();
  const bring = () => {
    shown = id;
    const call = callOf(contact, line);
    show(call);
    tell(inOneLine(contact.getStatus().type, call));
  };
  contact.onConnecting(bring);
  contact.onConnected(bring);
  contact.onEnded(bring);
  contact.onMissed(bring);
  // Attributes may change during a call: whatever is on the screen follows.
  contact.onRefresh(() => shown === id && bring());
  contact.onDestroy(() => {
    if (shown !== id) return;
    shown = null;
    clear();
    tell(WAITING);
  });
}

/** A contact as the screen wants it. */
function callOf(contact, line) {
  const attributes = Object.fromEntries(Object.values(contact.getAttributes() ?? {}).map((a) => [a.name, a.value]));
  return { attributes, caller: line.getEndpoint()?.phoneNumber ?? "", queue: contact.getQueue()?.name ?? "" };
}

/** The first thing to know: that there is a call, and whether it is urgent. */
function inOneLine(state, { attributes }) {
  const pressing = attributes.handover === "ok" && ["urgent", "high"].includes(attributes.priority);
  return `${STATES[state] ?? "A call"}${pressing ? `, priority ${attributes.priority}` : ""}.`;
}

function start() {
  const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;
  if (!setting("ccp-url")) return tell("This page has not been built: see docs/agent_page.md.");
  if (!window.connect?.core) return tell("Amazon's library did not load: build this page again, and upload all of it.");
  tell("Connecting to Amazon Connect. If a window opens, sign in there.");
  connect.core.initCCP(document.getElementById("ccp"), {
    ccpUrl: setting("ccp-url"),
    region: setting("connect-region"),
    iframeTitle: "Amazon Connect contact control panel",
    loginPopup: true,
    loginPopupAutoClose: true,
    softphone: { allowFramedSoftphone: true },
  });
  connect.core.onInitialized(() => shown === null && tell(WAITING));
  connect.contact(follow);
}

start();
