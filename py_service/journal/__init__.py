"""The append-only, hash-chained logs: the truth of what happened. A layer below the rooms; it knows events, not their meaning."""
