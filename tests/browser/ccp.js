// The other end of the agent page: what Amazon's contact control panel tells the library in the page around it.
// It speaks through the library's own conduit, so both ends of the protocol are Amazon's code.

const conduit = new connect.Conduit("ccp", null, new connect.WindowIOStream(window, window.parent));
const acknowledge = () => conduit.sendDownstream(connect.EventType.ACKNOWLEDGE, { id: "port" });

/** Tell the page what the agent has: every contact, as the panel does after each change. */
window.update = (contacts) => conduit.sendDownstream(connect.AgentEvents.UPDATE, {
  configuration: {
    routingProfile: { routingProfileId: "arn:aws:connect:ap-southeast-2:000000000000:instance/00000000-0000-0000-0000-000000000000/routing-profile/1" },
    softphoneEnabled: true,
  },
  snapshot: { state: { name: "Available", type: connect.AgentStateType.ROUTABLE }, contacts },
});

window.signIn = () => {
  conduit.onDownstream(connect.EventType.SYNCHRONIZE, acknowledge);
  acknowledge();
};
