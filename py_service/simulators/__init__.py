"""Real clients over the real protocols: locks and phones. The service never imports them."""
