"""Connections, indexes and embedded servers. No domain: nothing here knows what a door is."""
