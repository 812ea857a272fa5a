"""Passes: a key that is shared. Given by a manager or a person, accepted by a link, passed on, taken back with all that hangs from it."""
