"""Two addresses."""

from django.urls import path

from shop import views

urlpatterns = [
    path("orders", views.take_order),
    path("orders/<int:order_id>", views.show_order),
]
