"""Bulk imports of persons, groups and grants: collected in parts, started, applied in batches through the lane of changes, told row by row.

What doesn't live here: what a row has to be. That is the directory's and access' own, and is passed in (rows.py).
"""
