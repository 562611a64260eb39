(function () {
  "use strict";
  // Text from the data is only ever set by textContent, and there is no template literal: a crowd platform
  // replaces every dollar sign before a brace.
  var WATCHED = 0.9;
  var KEPT = "study block ";
  var block = JSON.parse(document.getElementById("block").textContent);
  var study = document.getElementById("study");
  var pair = document.getElementById("pair");
  var form = pair.closest("form");
  var parameters = new URLSearchParams(location.search);
  var preview = parameters.get("assignmentId") === "ASSIGNMENT_ID_NOT_AVAILABLE";
  // Blocks of other people may share this origin and this tab: an assignment is one person's.
  var blockId = document.querySelector("input[name=block_id]").value;
  var key = KEPT + blockId + " " + (parameters.get("assignmentId") || "");
  var consent = null;
  var finished = false;
  var sent = false;
  var blurs = 0;
  var given = [];

  function element(name, properties, children) {
    var made = document.createElement(name);
    Object.keys(properties || {}).forEach(function (key) {
      made[key] = properties[key];
    });
    (children || []).forEach(function (child) {
      made.appendChild(child);
    });
    return made;
  }

  function withStorage(action) {
    try {
      return action(window.sessionStorage);
    } catch (error) {
      return null; // forbidden, full or spoiled: the block is answered all the same, but not kept
    }
  }

  function keep() {
    if (!preview) {
      withStorage(function (storage) {
        storage.setItem(key, JSON.stringify({ consent: consent, given: given, sent: sent }));
      });
    }
  }

  function recall() {
    withStorage(function (storage) {
      var kept = JSON.parse(storage.getItem(key));
      var fits = kept.consent.version === study.dataset.consent && kept.given.length <= block.items.length;
      if (fits && kept.given.every(function (one, index) { return one.id === block.items[index].id; })) {
        consent = kept.consent;
        given = kept.given;
      }
    });
  }

  function forgetSent() {
    withStorage(function (storage) {
      Object.keys(storage).forEach(function (name) {
        if (name !== key && name.indexOf(KEPT) === 0 && JSON.parse(storage.getItem(name)).sent) {
          storage.removeItem(name);
        }
      });
    });
  }

  function played(video) {
    var seconds = 0;
    for (var index = 0; index < video.played.length; index += 1) {
      seconds += video.played.end(index) - video.played.start(index);
    }
    return video.duration > 0 ? Math.min(1, seconds / video.duration) : 0;
  }

  function makeVideo(address, label, changed) {
    var clip = { ended: 0, error: 0 };
    var video = element("video", { muted: true, playsInline: true, controls: true, preload: "auto" });
    video.setAttribute("muted", "");
    video.setAttribute("controlslist", "nodownload noplaybackrate nofullscreen noremoteplayback");
    video.setAttribute("disablepictureinpicture", "");
    video.setAttribute("aria-label", label);
    video.addEventListener("ended", function () {
      clip.ended += 1;
      changed();
    });
    video.addEventListener("error", function () {
      clip.error = video.error ? video.error.code : -1;
      changed();
    });
    video.addEventListener("ratechange", function () {
      if (video.playbackRate !== 1) {
        video.playbackRate = 1;
      }
    });
    video.src = address;
    clip.video = video;
    clip.seen = function () {
      return clip.ended > 0 && played(video) >= WATCHED;
    };
    return clip;
  }

  function start(video) {
    video.currentTime = 0;
    video.play().catch(function () {
      // told by the error event, or the rater presses play
    });
  }

  function makeQuestion(question, place, changed) {
    var legend = element("legend", { textContent: question.text });
    var labels = question.options.map(function (option, index) {
      var name = "choice-" + place + "-" + question.id;
      var input = element("input", { type: "radio", name: name, value: option[0], id: name + "-" + index });
      input.addEventListener("change", changed);
      return element("label", {}, [input, document.createTextNode(" " + option[1])]);
    });
    return element("fieldset", { disabled: true }, [legend].concat(labels));
  }

  function answerOf(fieldset) {
    var chosen = fieldset.querySelector("input:checked");
    return chosen ? chosen.value : null;
  }

  function show(place) {
    var item = block.items[place];
    var began = performance.now();
    var blurred = blurs;
    var heading = element("h2", { tabIndex: -1 });
    heading.textContent = "Pair " + (place + 1) + " of " + block.items.length;
    var prompt = element("p", { className: "prompt", dir: "auto", textContent: item.prompt });
    var clips = ["Left video", "Right video"].map(function (label, side) {
      return makeVideo(item.src[side], label, update);
    });
    var figures = clips.map(function (clip) {
      var caption = element("figcaption", { textContent: clip.video.getAttribute("aria-label") });
      return element("figure", {}, [caption, clip.video]);
    });
    var both = element("button", { type: "button", textContent: "Play both", className: "both" });
    var problem = element("input", { type: "checkbox", className: "problem" });
    var trouble = element("label", {}, [problem, document.createTextNode(" A video does not play")]);
    var state = element("p", { className: "state" });
    state.setAttribute("role", "status");
    var fieldsets = block.questions.map(function (question) {
      return makeQuestion(question, place, update);
    });
    var next = element("button", { type: "button", textContent: "Next", disabled: true, className: "next" });

    function update() {
      var open = clips[0].seen() && clips[1].seen() && !problem.checked;
      var failed = clips[0].error || clips[1].error;
      fieldsets.forEach(function (fieldset) {
        fieldset.disabled = !open;
      });
      next.disabled = !problem.checked && !(open && fieldsets.every(answerOf));
      var words = open ? "You can answer now." : "Watch both videos to their end.";
      if (failed) {
        words = "A video could not be loaded. Tick the box and go on.";
      }
      if (problem.checked) {
        words = "Noted. Go on to the next pair.";
      }
      if (state.textContent !== words) {
        state.textContent = words;
      }
    }

    function record() {
      var answers = {};
      block.questions.forEach(function (question, index) {
        answers[question.id] = problem.checked ? null : answerOf(fieldsets[index]);
      });
      given.push({
        id: item.id,
        a: answers,
        ended: clips.map(function (clip) { return clip.ended; }),
        frac: clips.map(function (clip) { return Math.round(played(clip.video) * 1000) / 1000; }),
        err: clips.map(function (clip) { return clip.error; }),
        dims: clips.map(function (clip) {
          return [clip.video.videoWidth, clip.video.videoHeight, clip.video.duration || 0];
        }),
        blur: blurs - blurred,
        problem: problem.checked ? 1 : 0,
        ms: Math.round(performance.now() - began)
      });
      keep();
    }

    both.addEventListener("click", function () {
      clips.forEach(function (clip) { start(clip.video); });
    });
    problem.addEventListener("change", update);
    next.addEventListener("click", function () {
      record();
      goOn();
    });
    pair.replaceChildren(
      heading,
      element("p", { textContent: "Text:" }),
      prompt,
      element("div", { className: "videos" }, figures),
      element("div", { className: "row" }, [both, trouble]),
      state
    );
    fieldsets.forEach(function (fieldset) { pair.appendChild(fieldset); });
    pair.appendChild(element("div", { className: "row" }, [next]));
    update();
    heading.focus();
  }

  function goOn() {
    document.getElementById("welcome").hidden = true;
    pair.hidden = false;
    if (given.length < block.items.length) {
      show(given.length);
    } else {
      finish();
    }
  }

  function finish() {
    finished = true;
    document.getElementById("answers").value = JSON.stringify({
      v: 1,
      consent: consent,
      screen: [window.innerWidth, window.innerHeight],
      items: given
    });
    pair.replaceChildren();
    pair.hidden = true;
    document.getElementById("finish").hidden = false;
    document.getElementById("preview").hidden = !preview;
    document.getElementById("send").disabled = preview;
    document.getElementById("thanks").focus();
  }

  window.addEventListener("blur", function () {
    blurs += 1;
  });
  document.getElementById("agree").addEventListener("click", function () {
    consent = { version: study.dataset.consent, at: new Date().toISOString() };
    keep();
    goOn();
  });
  if (form) {
    form.addEventListener("submit", function (event) {
      sent = finished && !preview;
      if (sent) {
        keep(); // until another block is opened: the platform may not get it
      } else {
        event.preventDefault();
      }
    });
  }
  window.addEventListener("beforeunload", function (event) {
    if (consent && !sent && !preview) {
      event.preventDefault(); // the browser asks first: answers are kept in this tab at most
    }
  });
  var assignment = document.getElementById("assignment");
  if (assignment) {
    assignment.value = parameters.get("assignmentId") || "";
    var sandbox = "https://workersandbox.mturk.com";
    if (parameters.get("turkSubmitTo") === sandbox) {
      form.action = sandbox + "/mturk/externalSubmit";
    }
  }
  if (!preview) {
    forgetSent();
    recall();
    if (consent) {
      goOn();
    }
  }
})();
