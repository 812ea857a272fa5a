"""What there is to manage: sites, floors, areas, doors, devices, persons, groups, schedules and calendars, and who has which role."""
