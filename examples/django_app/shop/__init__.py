"""A shop of one page: an order is written to the database, and a task settles it."""
