"""A web API that enqueues, tells of results and cancels."""
