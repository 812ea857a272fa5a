"""What happened, searchable: the projection of the journal, and its pages."""
