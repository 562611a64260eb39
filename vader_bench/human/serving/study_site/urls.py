"""Addresses of the site. Ours come first; behind them are Turkle's, for the requester only."""

from __future__ import annotations

import re

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path, re_path

from . import views

__all__ = ["urlpatterns"]

urlpatterns = [
    path("", views.index, name="index"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(http_method_names=["post"]), name="logout"),
    path("prolific/", views.prolific, name="prolific"),
    path("prolific/preview/", views.prolific_preview, name="prolific_preview"),
    path("batch/<int:batch_id>/accept_next_task/", views.accept, name="accept_next_task"),
    path("task/<int:task_id>/assignment/<int:task_assignment_id>/", views.block, name="task_assignment"),
    path(
        "task/<int:task_id>/assignment/iframe/<int:task_assignment_id>/",
        views.frame,
        name="task_assignment_iframe",
    ),
    path(
        "task/<int:task_id>/assignment/<int:task_assignment_id>/return/",
        views.give_back,
        name="return_task_assignment",
    ),
    path("admin/", admin.site.urls),
]
if settings.STUDY["media_path"]:
    _folder = re.escape(settings.STUDY["media_path"].lstrip("/"))
    urlpatterns.append(
        re_path(rf"^{_folder}(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{{0,127}})$", views.video, name="video")
    )
urlpatterns += [path("", include("turkle.urls")), path("", include("django.contrib.auth.urls"))]
