"""The demonstration: a believable organization, a live view of it, and one round of the main job."""
