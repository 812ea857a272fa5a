"""Who a person is: sign-in, sessions, refresh tokens, signing keys, and what a person sees of themselves.

What a person may do is not here: that is the permission index of the core, asked through small protocols.
"""
