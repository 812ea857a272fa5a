"""Nexkey: cloud access control. The public surface is the command `nexkey` and the HTTP API, not this package."""
