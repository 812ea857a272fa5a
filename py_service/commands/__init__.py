"""The commands for daily work: clients of the HTTP API, which know nothing of the service but its protocol."""
