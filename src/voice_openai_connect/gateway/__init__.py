"""The caller's side: Twilio's webhooks and media sockets, and who is on the line."""
