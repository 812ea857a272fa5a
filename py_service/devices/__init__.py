"""What a device asks of the service: a token for the gateway, the time, its configuration; and what a report of it means.

A device proves itself with its own key each time; it has no session and no password.
"""
