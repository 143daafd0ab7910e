"""One table."""

from django.db import models


class Order(models.Model):
    """What a customer ordered, and how far it is."""

    symbol = models.CharField(max_length=20)
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=20, default="new")
    attempt = models.PositiveIntegerField(default=0)  # the task's fencing number
