"""A voice gateway: calls come in through Twilio, an AI answers, and a person in Amazon Connect takes over.

The rooms, in the order a call walks through them:

``gateway/``       the caller's side: webhooks, the media socket, who is on the line
``wire/``          other people's formats to our events, our commands to other people's formats. Pure.
``call/``          one phone call as a state machine: events in, commands out. Pure; every decision is here.
``integrations/``  the other side: the model's socket, DynamoDB, HubSpot, Twilio's REST API
``build.py``       joins them: settings in, running parts out
``recording/``     a call as a file, nothing private in it, and its replay
``simulator/``     a town to make calls in; the demo and the tests use the same one

Three words carry most of the meaning. An *event* is something that happened to a call (past tense).
A *command* is something the call asks for (imperative). The *machine* turns one into the other, given the
time, and does nothing else. docs/architecture.md follows one call through all of it.
"""

__version__ = "0.1.0"
