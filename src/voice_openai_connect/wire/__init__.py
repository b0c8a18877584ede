"""Other people's formats to our events, and our commands to theirs. Pure: text in, text out."""
