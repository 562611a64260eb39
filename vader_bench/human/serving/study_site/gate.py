"""Who may see what. Turkle shows the page of any block to anyone who has its address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.views import redirect_to_login
from django.shortcuts import render

__all__ = ["OPEN", "RATERS", "Gate", "Hasher", "minutes", "secure_cookies"]

OPEN: Final = {"login", "prolific", "prolific_preview", "video"}
"""Names of the addresses that anyone may call; files of the site's looks never come here."""
RATERS: Final = {
    "index", "accept_next_task", "task_assignment", "task_assignment_iframe", "return_task_assignment",
    "logout",
}  # fmt: skip
"""Those for whoever is logged in. All others are for the requester."""


class Hasher(PBKDF2PasswordHasher):
    """Fewer rounds than Django's own: all passwords here are random, of more than a hundred bits."""

    iterations = 20_000


class Gate:
    """Refuse every address that is not for this person."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Pass the request on; it is judged once its address is resolved."""
        return self._get_response(request)

    def process_view(self, request: Any, *_: Any) -> Any:
        """Return a refusal, or ``None`` to go on."""
        name = request.resolver_match.view_name
        if name in OPEN or request.user.is_staff or (request.user.is_authenticated and name in RATERS):
            return None
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return render(request, "study/message.html", {"message": "This page is not for raters."}, status=403)


def minutes(_: Any) -> dict[str, int]:
    """Return what all pages may say: how long a block is kept for who has begun it."""
    return {"minutes": settings.STUDY["minutes"]}


def secure_cookies(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Keep cookies of the public address from being sent without encryption; on loopback there is none."""

    def respond(request: Any) -> Any:
        response = get_response(request)
        host = request.META.get("HTTP_HOST", "").partition(":")[0].lower()
        if host and host == settings.STUDY["public"]:
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response

    return respond
