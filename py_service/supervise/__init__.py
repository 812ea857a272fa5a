"""What starts, watches and stops processes: `nexkey up`, and what one process of each kind runs.

No domain and no HTTP of its own: it knows commands, environments, exit statuses and readiness.
"""
