"""Who may open what, when: the permissions in memory, and every change of them."""
