"""Django's settings. What differs from study to study comes from the file that ``STUDY_SITE`` names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["STUDY"]  # Django reads the other names in capitals by itself

STUDY: dict[str, Any] = json.loads(Path(os.environ["STUDY_SITE"]).read_text("utf-8"))
"""``secret_key, database, media, media_path, public, prolific, participants, per_rater, minutes, plan,
title``."""

DEBUG = False
SECRET_KEY = STUDY["secret_key"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", *([STUDY["public"]] if STUDY["public"] else [])]
CSRF_TRUSTED_ORIGINS = [f"https://{STUDY['public']}"] if STUDY["public"] else []
ROOT_URLCONF = "study_site.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STUDY["database"]}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "turkle", "django.contrib.admin", "guardian",
    "djaa_list_filter2",
]  # fmt: skip
"""Turkle's programming interface is left out: with it any account could read all results."""
MIDDLEWARE = [
    "study_site.gate.secure_cookies",  # first: it looks at the cookies that the others set
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "study_site.gate.Gate",
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
PASSWORD_HASHERS = ["study_site.gate.Hasher"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.request",
                "django.template.context_processors.static",
                "django.contrib.messages.context_processors.messages",
                "turkle.utils.turkle_vars",
                "study_site.gate.minutes",
            ]
        },
    }
]
LOGGING = {  # by itself Django writes down nothing of a page that failed, unless DEBUG is on
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"dated": {"format": "{asctime} {levelname} {message}", "style": "{"}},
    "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "dated"}},  # stderr: log.txt
    "loggers": {"django.request": {"handlers": ["log"], "level": "ERROR", "propagate": False}},
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "index"
X_FRAME_OPTIONS = "SAMEORIGIN"  # a block lies in a frame of the page around it
DATA_UPLOAD_MAX_MEMORY_SIZE = 2**20
SESSION_COOKIE_NAME = f"session-{STUDY['plan'][:12]}"  # cookies know no ports: another study may be beside
CSRF_COOKIE_NAME = f"csrf-{STUDY['plan'][:12]}"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # sent when a link on Prolific's page leads here
TURKLE_SITE_NAME = STUDY["title"]
TURKLE_TEMPLATE_LIMIT = 64
TURKLE_ANONYMOUS_TASKS = False
TURKLE_AUTO_ACCEPT_DEFAULT = False
