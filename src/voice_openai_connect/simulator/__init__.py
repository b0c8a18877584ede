"""A town to make calls in: a carrier, a model, a CRM and a contact centre, strict where the real ones are strict."""
