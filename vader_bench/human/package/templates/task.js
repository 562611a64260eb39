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
  var given = []; // by place; may be changed until it is sent
  var drafts = {}; // what was watched and answered of pairs that were left unfinished, by place
  var KEYS = ["qwe", "asd", "zxc"]; // of the first three questions: left, about the same, right
  var current = null; // the pair that is shown: what letters do

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

  // The browser's own controls lie on the picture: a button and a bar below it take their place.
  function makeVideo(address, label, before, changed) {
    var clip = { ended: before.ended, error: before.err };
    var video = element("video", { muted: true, playsInline: true, preload: "auto" });
    video.setAttribute("muted", "");
    video.setAttribute("disableremoteplayback", "");
    video.setAttribute("disablepictureinpicture", "");
    video.setAttribute("aria-label", label + " video");
    var play = element("button", { type: "button", className: "play" });
    var bar = element("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-hidden", "true");
    function show() {
      play.textContent = (video.paused || video.ended ? "Play " : "Pause ") + label.toLowerCase();
    }
    function toggle() {
      if (video.ended || video.paused) {
        run(video, video.ended);
      } else {
        video.pause();
      }
    }
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
    video.addEventListener("timeupdate", function () {
      bar.value = video.duration > 0 ? Math.min(1, video.currentTime / video.duration) : 0;
    });
    ["play", "pause", "ended"].forEach(function (name) {
      video.addEventListener(name, show);
    });
    play.addEventListener("click", toggle);
    video.addEventListener("click", toggle);
    show();
    video.src = address;
    clip.video = video;
    clip.figure = element("figure", {}, [video, bar, play]);
    clip.share = function () {
      return Math.max(before.frac, played(video));
    };
    clip.seen = function () {
      return clip.ended > 0 && clip.share() >= WATCHED;
    };
    clip.dims = function () {
      return video.videoWidth ? [video.videoWidth, video.videoHeight, video.duration || 0] : before.dims;
    };
    return clip;
  }

  function run(video, fromStart) {
    if (fromStart) {
      video.currentTime = 0;
    }
    video.play().catch(function () {
      // told by the error event, or the rater presses play
    });
  }

  function keyOf(number, value) {
    return number < KEYS.length ? KEYS[number]["LTR".indexOf(value)] : "";
  }

  function makeQuestion(question, number, place, chosen, changed) {
    var legend = element("legend", { textContent: question.text });
    var labels = question.options.map(function (option, index) {
      var name = "choice-" + place + "-" + question.id;
      var input = element("input", { type: "radio", name: name, value: option[0], id: name + "-" + index });
      input.checked = option[0] === chosen;
      input.addEventListener("change", changed);
      var letter = keyOf(number, option[0]);
      return withKey(element("label", {}, [input, document.createTextNode(" " + option[1])]), letter);
    });
    return element("fieldset", { disabled: true }, [legend].concat(labels));
  }

  function withKey(made, letter) {
    if (letter) {
      made.dataset.key = letter.toUpperCase(); // shown by the style
      made.setAttribute("aria-keyshortcuts", letter.toUpperCase());
    }
    return made;
  }

  // What is known of a pair before it is shown: nothing, or what was given or left unfinished.
  function knownOf(place) {
    return given[place] || drafts[place] || {
      a: {}, ended: [0, 0], frac: [0, 0], err: [0, 0], dims: [[0, 0, 0], [0, 0, 0]], blur: 0, problem: 0, ms: 0
    };
  }

  function answerOf(fieldset) {
    var chosen = fieldset.querySelector("input:checked");
    return chosen ? chosen.value : null;
  }

  function show(place) {
    var item = block.items[place];
    var before = knownOf(place);
    var began = performance.now();
    var blurred = blurs;
    var heading = element("h2", { tabIndex: -1 });
    heading.textContent = "Pair " + (place + 1) + " of " + block.items.length;
    var prompt = element("p", { className: "prompt", dir: "auto", textContent: item.prompt });
    prompt.setAttribute("aria-label", "Text: " + item.prompt);
    var clips = ["Left", "Right"].map(function (label, side) {
      var known = {
        ended: before.ended[side], frac: before.frac[side], err: before.err[side], dims: before.dims[side]
      };
      return makeVideo(item.src[side], label, known, update);
    });
    var both = element("button", { type: "button", textContent: "Play both", className: "both" });
    var problem = element("input", { type: "checkbox", className: "problem", checked: before.problem === 1 });
    var trouble = element("label", {}, [problem, document.createTextNode(" A video does not play")]);
    var state = element("p", { className: "state" });
    state.setAttribute("role", "status");
    var fieldsets = block.questions.map(function (question, number) {
      return makeQuestion(question, number, place, before.a[question.id], update);
    });
    var next = element("button", { type: "button", textContent: "Next", disabled: true, className: "next" });
    var back = element("button", { type: "button", textContent: "Back", className: "back", hidden: !place });

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

    function told() {
      var answers = {};
      block.questions.forEach(function (question, index) {
        answers[question.id] = problem.checked ? null : answerOf(fieldsets[index]);
      });
      return {
        id: item.id,
        a: answers,
        ended: clips.map(function (clip) { return clip.ended; }),
        frac: clips.map(function (clip) { return Math.round(clip.share() * 1000) / 1000; }),
        err: clips.map(function (clip) { return clip.error; }),
        dims: clips.map(function (clip) { return clip.dims(); }),
        blur: before.blur + blurs - blurred,
        problem: problem.checked ? 1 : 0,
        ms: before.ms + Math.round(performance.now() - began)
      };
    }

    both.addEventListener("click", function () {
      clips.forEach(function (clip) { run(clip.video, true); });
    });
    problem.addEventListener("change", update);
    next.addEventListener("click", function () {
      given[place] = told();
      keep();
      goTo(place + 1);
    });
    back.addEventListener("click", function () {
      if (!next.disabled) {
        given[place] = told();
        keep();
      } else if (!given[place]) {
        drafts[place] = told();
      }
      goTo(place - 1);
    });
    [[both, "P"], [next, "N"], [back, "B"]].forEach(function (one) { withKey(one[0], one[1]); });
    current = { both: both, next: next, back: back, fieldsets: fieldsets };
    pair.replaceChildren(
      element("div", { className: "row top" }, [heading, prompt]),
      element("div", { className: "videos" }, clips.map(function (clip) { return clip.figure; })),
      element("div", { className: "row" }, [both, trouble, state]),
      element("div", { className: "questions" }, fieldsets),
      element("div", { className: "row last" }, [next, back])
    );
    update();
    heading.focus();
    ahead(place + 1);
  }

  var loading = [];

  function ahead(place) {
    loading = place < block.items.length ? block.items[place].src.map(function (address) {
      return element("video", { muted: true, preload: "auto", src: address });
    }) : [];
  }

  function pressed(event) {
    var free = !event.ctrlKey && !event.altKey && !event.metaKey && !event.repeat;
    if (!current || pair.hidden || !free || event.key.length !== 1) {
      return;
    }
    var letter = event.key.toLowerCase();
    var button = { p: current.both, n: current.next, b: current.back }[letter];
    if (button && !button.hidden) {
      button.click(); // one that is disabled does nothing
    }
    current.fieldsets.forEach(function (fieldset, number) {
      [].forEach.call(fieldset.querySelectorAll("input"), function (input) {
        if (!fieldset.disabled && keyOf(number, input.value) === letter) {
          input.click();
          input.focus();
        }
      });
    });
  }

  function goTo(place) {
    document.getElementById("welcome").hidden = true;
    document.getElementById("finish").hidden = true;
    study.className = "rating";
    pair.hidden = false;
    finished = false;
    if (place < block.items.length) {
      show(place);
    } else {
      finish();
    }
  }

  function finish() {
    finished = true;
    current = null;
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
    document.getElementById("done").focus();
  }

  document.addEventListener("keydown", pressed);
  document.getElementById("last").addEventListener("click", function () {
    goTo(block.items.length - 1);
  });
  window.addEventListener("blur", function () {
    blurs += 1;
  });
  document.getElementById("agree").addEventListener("click", function () {
    consent = { version: study.dataset.consent, at: new Date().toISOString() };
    keep();
    goTo(given.length);
  });
  if (form) {
    form.addEventListener("submit", function (event) {
      sent = finished && !preview;
      if (sent) {
        keep(); // until another block is opened: the platform may not get it
        document.getElementById("done").textContent = "Thank you";
        document.getElementById("unsent").hidden = true;
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
      goTo(given.length);
    }
  }
})();
