"""A phone asks, a door opens, or says why not."""
