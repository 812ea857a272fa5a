"""A request that is sent again with its Idempotency-Key takes effect once and is answered as the first time (docs/protocols/http.md)."""
