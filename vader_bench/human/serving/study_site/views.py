"""What raters see around a block, and how people come from Prolific and go back."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model, login
from django.contrib.auth.hashers import make_password
from django.contrib.contenttypes.models import ContentType
from django.http import FileResponse, Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from turkle import views as turkle
from turkle.models import Batch, Task, TaskAssignment

from .checks import byte_span, is_answer, is_preview, listed, prolific_ids

__all__ = [
    "accept", "block", "frame", "give_back", "index", "late_blocks", "prolific", "prolific_preview", "video",
]  # fmt: skip

COMPLETE: Final = "https://app.prolific.com/submissions/complete?cc="
PROLIFIC: Final = "prolific-"
"""What the account names of people from Prolific begin with."""
HANDED_OUT: Final = "handed out"
LATE: Final = "too late: block "
"""Notes in Django's log of an assignment, which last when Turkle has deleted it."""


@require_safe
def index(request: Any) -> Any:
    """Say what is left for this person, or, to the requester, how far the study is."""
    batch = _batch()
    if request.user.is_staff:
        blocks = batch.task_set.values("input_csv_fields").distinct().count()
        context = {
            "batch": batch,
            "title": settings.STUDY["title"],
            "again": batch.total_tasks() - blocks,
            "late": late_blocks(),
        }
        return render(request, "study/progress.html", context)
    if _session_done(request):
        return _completed(request)
    context = {
        "title": settings.STUDY["title"],
        "batch": batch,
        "begun": _begun(batch, request.user),
        "answered": batch.assignments_completed_by(request.user).count(),
        "left": _next(batch, request.user) is not None,
        "waiting": _may_come(batch, request.user),
        "prolific": "prolific" in request.session,
    }
    return render(request, "study/index.html", context)


@require_GET
def accept(request: Any, batch_id: int) -> Any:
    """Hand out a block: the one that was begun, or else the next one, up to as many as one may answer."""
    batch = get_object_or_404(Batch, id=batch_id, name=settings.STUDY["plan"])
    if request.user.is_staff:
        return _message(request, "The requester is no rater: log in as one.", 403)
    if _session_done(request):
        return _completed(request)
    begun = _begun(batch, request.user)
    if begun is not None:
        return redirect("task_assignment", begun.task_id, begun.id)
    if "prolific" in request.session:
        refusal = _refusal(request, request.user.username.removeprefix(PROLIFIC))
        if refusal is not None:
            return refusal
    task = _next(batch, request.user)
    if task is None:
        return redirect("index")
    begun = TaskAssignment(assigned_to=request.user, task=task)
    begun.save()
    begun.expires_at = timezone.now() + timedelta(minutes=settings.STUDY["minutes"])  # Turkle counts hours
    begun.save()
    _note(request.user, begun.id, HANDED_OUT)
    return redirect("task_assignment", task.id, begun.id)


@require_http_methods(["GET", "HEAD", "POST"])
def block(request: Any, task_id: int, task_assignment_id: int) -> Any:
    """Show a block, or keep its answers, once."""
    if request.method == "POST" and _taken_back(request, task_assignment_id):
        return _late(request, task_id, task_assignment_id)
    found = _own(request, task_id, task_assignment_id)
    if found.completed:
        return _completed(request) if _session_done(request) else redirect("index")
    if request.method != "POST":
        return turkle.task_assignment(request, task_id, task_assignment_id)
    if not is_answer(dict(request.POST.lists()), found.task.input_csv_fields["block_id"]):
        return _message(request, "These are no answers to this block. Go back and try again.", 400)
    return _kept(request, found)


def _kept(request: Any, assignment: Any) -> Any:
    """Keep the answers that were posted to an assignment, and say where to go on."""
    turkle.task_assignment(request, assignment.task_id, assignment.id)
    if "prolific" not in request.session:
        return redirect("index")
    _note_session(request, assignment)
    return _completed(request)


def _taken_back(request: Any, task_assignment_id: int) -> bool:
    """Tell whether this person had an assignment that Turkle has deleted: it was late or given back."""
    if TaskAssignment.objects.filter(id=task_assignment_id).exists():
        return False
    notes = LogEntry.objects.filter(user=request.user, object_id=str(task_assignment_id))
    return bool(notes.filter(change_message=HANDED_OUT).exists())


def _late(request: Any, task_id: int, task_assignment_id: int) -> Any:
    """Keep answers that come late if nobody else has the block by now; else note who worked in vain."""
    batch = _batch()
    task = get_object_or_404(Task, id=task_id, batch=batch)
    if not is_answer(dict(request.POST.lists()), task.input_csv_fields["block_id"]):
        return _message(request, "These are no answers to this block. Go back and try again.", 400)
    free = not task.completed and not task.taskassignment_set.exists()
    if free and batch.assignments_completed_by(request.user).count() < settings.STUDY["per_rater"]:
        found = TaskAssignment(assigned_to=request.user, task=task)
        found.save()
        return _kept(request, found)
    block = task.input_csv_fields["block_id"]
    sys.stderr.write(f"{timezone.now():%Y-%m-%d %H:%M:%S} {request.user.username}: {LATE}{block}\n")
    _note(request.user, task_assignment_id, f"{LATE}{block}")
    if "prolific" in request.session and settings.STUDY["prolific"] is not None:
        return _completed(request)
    words = "Thank you. Your answers came too late to be used: someone else has the block by now. "
    return _message(request, words + "The makers of the study see that you sent them.", 410)


def late_blocks() -> list[dict[str, str]]:
    """Return who sent a block too late: account, block and time."""
    notes = LogEntry.objects.filter(change_message__startswith=LATE).order_by("action_time")
    return [
        {
            "account": note.user.username,
            "block": note.change_message.removeprefix(LATE),
            "time": f"{note.action_time:%Y-%m-%d %H:%M:%S} UTC",
        }
        for note in notes
    ]


@require_safe
def frame(request: Any, task_id: int, task_assignment_id: int) -> Any:
    """Show the page of the package, to the person whose block it is."""
    if _own(request, task_id, task_assignment_id).completed:
        raise Http404
    return turkle.task_assignment_iframe(request, task_id, task_assignment_id)


@require_POST
def give_back(request: Any, task_id: int, task_assignment_id: int) -> Any:
    """Let someone else have the block."""
    _own(request, task_id, task_assignment_id)
    return turkle.return_task_assignment(request, task_id, task_assignment_id)


@require_GET
def prolific(request: Any) -> Any:
    """Let a person in who comes from Prolific, and hand out a block."""
    if settings.STUDY["prolific"] is None:
        raise Http404
    ids = prolific_ids(request.GET)
    if ids is None and is_preview(request.GET) and settings.STUDY["participants"] is None:
        return render(request, "study/preview.html")
    if ids is None:
        return _message(request, "This address is not complete. Open the study on Prolific again.", 400)
    person, study, session = ids
    refusal = _refusal(request, person)
    if refusal is not None:
        return refusal
    user, _ = get_user_model().objects.get_or_create(
        username=PROLIFIC + person, defaults={"password": make_password(None)}
    )
    if not user.is_active:
        return _message(request, "This account was closed.", 403)
    if request.user != user:  # else the block in a tab that is open could no longer be sent
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session["prolific"] = {"study": study, "session": session}
    return redirect("accept_next_task", _batch().id)


@require_GET
def prolific_preview(request: Any) -> Any:
    """Show the first block as a page that sends nothing: a preview takes no block and leaves no answer."""
    if settings.STUDY["prolific"] is None or settings.STUDY["participants"] is not None:
        raise Http404
    return render(request, "turkle/preview_iframe.html", {"task": _batch().task_set.order_by("id").first()})


@require_safe
def video(request: Any, name: str) -> Any:
    """Send a video of the package, or the part of it that the browser asks for."""
    path = Path(settings.STUDY["media"]) / name
    if not path.is_file():
        raise Http404
    size = path.stat().st_size
    span = byte_span(request.headers.get("Range"), size)
    if span is None:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    start, stop = span
    response: Any
    if (start, stop) == (0, size):
        response = FileResponse(path.open("rb"), content_type="video/mp4")
    else:
        with path.open("rb") as stream:
            stream.seek(start)
            response = HttpResponse(stream.read(stop - start), content_type="video/mp4", status=206)
        response["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, max-age=86400, immutable"
    return response


def _batch() -> Any:
    return Batch.objects.get(name=settings.STUDY["plan"])


def _own(request: Any, task_id: int, task_assignment_id: int) -> Any:
    """Return an assignment of this person; of all others nobody learns whether they exist."""
    return get_object_or_404(
        TaskAssignment, id=task_assignment_id, task_id=task_id, assigned_to_id=request.user.id
    )


def _begun(batch: Any, user: Any) -> Any:
    return TaskAssignment.objects.filter(task__batch=batch, assigned_to=user, completed=False).first()


def _next(batch: Any, user: Any) -> Any:
    """Return the block that this person may begin, or ``None``.

    One that others are late with is taken from them only if there is no other. A block that is given out
    again is another task of Turkle's with the same fields: who had the one does not get the other.
    """
    if batch.assignments_completed_by(user).count() >= settings.STUDY["per_rater"]:
        return None
    had = Task.objects.filter(taskassignment__assigned_to=user).values("input_csv_fields")
    free = batch.available_tasks_for(user).exclude(input_csv_fields__in=had)
    found = free.first()
    if found is None:
        TaskAssignment.expire_all_abandoned()
        found = free.first()
    return found


def _may_come(batch: Any, user: Any) -> bool:
    """Tell whether others are at blocks that this person would get if they were given back."""
    if batch.assignments_completed_by(user).count() >= settings.STUDY["per_rater"]:
        return False
    had = Task.objects.filter(taskassignment__assigned_to=user).values("input_csv_fields")
    return bool(batch.task_set.filter(completed=False).exclude(input_csv_fields__in=had).exists())


def _refusal(request: Any, person: str) -> Any:
    """Return why someone from Prolific gets no block, or ``None``; the list may grow at any time."""
    path = settings.STUDY["participants"]
    if path is None:
        return None
    try:
        people = listed(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"--participants {path}: {error}\n")
        return _message(request, "The study is not open now. Please try again later.", 503)
    if person in people:
        return None
    return _message(request, "This study is not open to you. Please return your place on Prolific.", 403)


def _words(request: Any) -> str:
    ids = request.session["prolific"]
    return f"Prolific study {ids['study']}, session {ids['session']}"


def _note_session(request: Any, assignment: Any) -> None:
    """Note in Django's log which session answered a block: it lasts longer than the browser's session."""
    _note(request.user, assignment.id, _words(request))


def _note(user: Any, assignment: int, words: str) -> None:
    """Write ``words`` on an assignment into Django's log."""
    LogEntry.objects.log_action(
        user_id=user.id,
        content_type_id=ContentType.objects.get_for_model(TaskAssignment).id,
        object_id=assignment,
        object_repr=f"assignment {assignment}",
        action_flag=CHANGE,
        change_message=words,
    )


def _session_done(request: Any) -> bool:
    """Tell whether the Prolific session of this person has its block."""
    if "prolific" not in request.session:
        return False
    return bool(LogEntry.objects.filter(user=request.user, change_message=_words(request)).exists())


def _completed(request: Any) -> Any:
    """Lead back to Prolific, unless the server was started again without the completion code."""
    code = settings.STUDY["prolific"]
    if code is None:
        words = "Thank you. Your answers were saved. This page cannot lead you back to Prolific now: "
        return _message(request, words + "please open it again later.", 200)
    return HttpResponseRedirect(COMPLETE + code)


def _message(request: Any, message: str, status: int) -> Any:
    return render(request, "study/message.html", {"message": message}, status=status)
