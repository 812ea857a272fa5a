"""Permissions as they stand in memory and in the store, and the one way to change them. Below the rooms: what a change means is theirs."""
