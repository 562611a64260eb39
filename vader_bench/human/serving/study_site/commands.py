"""What vader-bench asks of the site: ``python -m study_site.commands COMMAND``.

``prepare`` and ``again`` read JSON from the standard input and answer in JSON, ``export`` answers in JSON,
too; ``serve`` says on which port it listens and goes on until its standard input closes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

import django
from django.conf import settings
from django.core.management import call_command

__all__ = ["again", "export", "main", "prepare", "serve"]

CONNECTIONS: Final = 800
"""Open at a time; a browser keeps six, and with Waitress's own hundred sixteen people shut out the rest. A
process may have 1,024 files open."""


def prepare(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Make the tables, the accounts and the batch, whichever of them are not there yet.

    Args:
        asked: ``accounts`` with passwords by name, ``admin`` among those the requester's name, ``template``,
            ``table`` in CSV.

    Returns:
        ``published``: whether it was done now; ``error``, where the folder serves another plan.
    """
    from django.db import transaction
    from turkle.models import Batch

    call_command("migrate", verbosity=0, interactive=False)
    with transaction.atomic():
        admin = _make_accounts(asked["accounts"], asked["admin"])
        plans = list(Batch.objects.values_list("name", flat=True))
        if plans:
            return {"published": False} if plans == [settings.STUDY["plan"]] else {"error": "another plan"}
        _publish(admin, asked["template"], asked["table"])
    return {"published": True}


def _make_accounts(accounts: Mapping[str, str], admin: str) -> Any:
    from django.contrib.auth import get_user_model

    model = get_user_model()
    for name, password in accounts.items():
        user, _ = model.objects.get_or_create(username=name)
        user.is_staff = user.is_superuser = name == admin
        if not user.check_password(password):
            user.set_password(password)
        user.save()
    return model.objects.get(username=admin)


def _publish(admin: Any, template: str, table: str) -> None:
    from turkle.models import Batch, Project

    # Turkle puts the name of a project where braces are fields: its page of a batch would fail
    name = settings.STUDY["title"].replace("{", "(").replace("}", ")")
    project = Project(name=name, html_template=template, created_by=admin, updated_by=admin)
    project.clean()  # finds the fields of the template
    project.save()
    batch = Batch(
        name=settings.STUDY["plan"],
        project=project,
        filename="batch.csv",
        created_by=admin,
        assignments_per_task=1,
        allotted_assignment_time=-(-settings.STUDY["minutes"] // 60),  # in hours
        login_required=True,
    )
    batch.save()
    batch.create_tasks_from_csv(io.StringIO(table, newline=""))


def again(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Put blocks once more behind all others, but for those that are open or someone is at.

    Args:
        asked: ``blocks``, by their ids.

    Returns:
        ``added``: how many.
    """
    from django.db import transaction
    from turkle.models import Batch, Task

    batch = Batch.objects.get(name=settings.STUDY["plan"])
    fields: dict[str, Any] = {}
    is_open = set()
    for task in batch.task_set.order_by("id"):
        block = task.input_csv_fields["block_id"]
        fields.setdefault(block, task.input_csv_fields)
        if not task.completed:
            is_open.add(block)
    wanted = [block for block in fields if block in set(asked["blocks"]) - is_open]
    with transaction.atomic():
        for block in wanted:
            Task(batch=batch, input_csv_fields=fields[block]).save()
        batch.update_completed_status()
    return {"added": len(wanted)}


def export() -> dict[str, Any]:
    """Return all answers, as ``results`` the text of a CSV file, and ``late``, who sent a block too late.

    Of each of these: ``account``, ``block`` and ``time``. Their answers are not among the results.
    """
    from turkle.models import Batch

    from .views import late_blocks

    text = io.StringIO(newline="")
    Batch.objects.get(name=settings.STUDY["plan"]).to_csv(text, lineterminator="\n")
    return {"results": text.getvalue(), "late": late_blocks()}


def serve(port: int) -> None:
    """Serve on loopback until the standard input closes, as it does when vader-bench ends in any way."""
    import waitress
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a short queue is no cause for a word
    application = StaticFilesHandler(get_wsgi_application())
    try:  # one thread: sqlite takes one writer, and waiting for slow browsers is not this thread's work
        server = waitress.create_server(
            application,
            host="127.0.0.1",
            port=port,
            threads=1,
            max_request_body_size=2**21,
            connection_limit=CONNECTIONS,
        )
    except OSError as error:
        _say({"error": error.strerror})
        return
    _say({"port": server.effective_port})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server.run()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Do what ``arguments`` ask for."""
    os.umask(0o077)
    django.setup()
    if arguments[0] == "prepare":
        _say(prepare(json.load(sys.stdin)))
    elif arguments[0] == "again":
        _say(again(json.load(sys.stdin)))
    elif arguments[0] == "export":
        _say(export())
    else:
        serve(int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
