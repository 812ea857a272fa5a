"""The HTTP edge: the only code that knows RSGI. It knows no room, no store and no rule of the domain."""
