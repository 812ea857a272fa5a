"""The API's document (OpenAPI 3.1) and its page for people, made from what the routes say about themselves.

Nothing here serves a request: that is `edge/documentation.py`.
"""
