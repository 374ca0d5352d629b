"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const $ = (id) => document.getElementById(id);
  const most = study.picks;
  const slot = `pixward-study-${study.study}`;
  let keeps = true; // whether the browser keeps what we store
  let state = restored() || fresh();
  let since = null; // when the question on the screen came into sight, in ms
  let saved = false;

  // --- what is kept ---------------------------------------------------------------------------------------------

  function fresh() {
    const random = crypto.getRandomValues(new Uint8Array(8));
    const participant = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { participant, at: -1, answers: {} };
  }

  function restored() {
    try {
      const kept = JSON.parse(localStorage.getItem(slot));
      return kept && typeof kept.participant === "string" && kept.answers ? kept : null;
    } catch {
      return null;
    }
  }

  function keep() {
    try {
      localStorage.setItem(slot, JSON.stringify(state));
    } catch {
      keeps = false;
    }
  }

  function answer(question) {
    return (state.answers[question.id] ||= { picks: [], skipped: false, seconds: 0 });
  }

  function decided(question) {
    const given = state.answers[question.id];
    return Boolean(given && (given.picks.length || given.skipped));
  }

  // --- order: drawn from seed, participant and question, so that a reload shows the same ------------------------

  function generator(text) {
    let h = 1779033703 ^ text.length; // xmur3, then mulberry32: small public-domain generators
    for (let i = 0; i < text.length; i++) {
      h = Math.imul(h ^ text.charCodeAt(i), 3432918353);
      h = (h << 13) | (h >>> 19);
    }
    h = Math.imul(h ^ (h >>> 16), 2246822507);
    h = Math.imul(h ^ (h >>> 13), 3266489909);
    let a = (h ^ (h >>> 16)) >>> 0;
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  function shuffled(items, purpose) {
    const draw = generator(`${study.seed}/${state.participant}/${purpose}`);
    const order = [...items];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  const questions = () => shuffled(study.questions, "questions");
  const shown = (question) => shuffled(Object.keys(question.results).sort(), question.id);

  // --- time on a question, while the page can be seen -----------------------------------------------------------

  function clock(runs) {
    const now = performance.now();
    const question = questions()[state.at];
    if (since !== null && question) {
      answer(question).seconds += (now - since) / 1000;
      keep();
    }
    since = runs && question && document.visibilityState === "visible" ? now : null;
  }

  // --- screens --------------------------------------------------------------------------------------------------

  function show() {
    const order = questions();
    const done = order.filter(decided).length;
    $("title").textContent = state.at === -1 ? "" : study.title;
    $("intro").hidden = state.at !== -1;
    $("ask").hidden = state.at < 0 || state.at >= order.length;
    $("end").hidden = state.at < order.length;
    $("bar").firstElementChild.style.width = `${(100 * done) / order.length}%`;
    $("bar").setAttribute("aria-valuemax", order.length);
    $("bar").setAttribute("aria-valuenow", done);
    $("count").textContent = $("ask").hidden ? "" : `Question ${state.at + 1} of ${order.length}`;
    if (!$("intro").hidden) intro(order.length);
    if (!$("ask").hidden) ask(order[state.at]);
    if (!$("end").hidden) end(order);
    clock(true);
  }

  function intro(count) {
    const up = most > 1 ? `up to ${most} results` : "the one result";
    $("intro-title").textContent = study.title;
    $("intro-text").textContent = `${study.question} In each of ${count} questions you see a target and several ` +
      `results; pick ${up} that you think fit best.`;
    $("last-key").textContent = Object.keys(study.questions[0].results).length;
  }

  function ask(question) {
    $("question").textContent = most > 1 ? `${study.question} Pick up to ${most}.` : study.question;
    $("target").src = question.target;
    $("source-box").hidden = !question.source;
    if (question.source) $("source").src = question.source;
    const order = shown(question);
    $("results").replaceChildren(...order.map((name, i) => card(question, name, i)));
    $("back").disabled = state.at === 0;
    mark(question);
    say(keeps ? "" : "This browser keeps nothing: your picks are lost if the page is closed before you save them.");
  }

  /** As many columns as make the results largest without scrolling; narrow screens have their own rule. */
  function fit() {
    const box = $("results");
    const first = box.querySelector("img");
    if (!first || !first.naturalHeight) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const count = box.children.length;
    const width = (columns) => {
      const tall = (innerHeight - 12.5 * rem) / Math.ceil(count / columns) - 3.5 * rem;
      return Math.min(box.clientWidth / columns - rem, (tall * first.naturalWidth) / first.naturalHeight);
    };
    const best = [1, 2, 3, 4, 5].reduce((a, b) => (width(b) > width(a) ? b : a));
    box.style.setProperty("--columns", best);
    box.style.setProperty("--rows", Math.ceil(count / best));
  }

  function card(question, name, i) {
    const box = document.createElement("div");
    box.className = "result";
    box.dataset.name = name;
    box.innerHTML = `<button type="button" class="pick" aria-pressed="false"><img alt="Result ${i + 1}"><span
      class="label"><kbd>${i + 1}</kbd><span class="mark">&#10003; picked</span></span></button><button type="button"
      class="look" aria-label="See result ${i + 1} large">&#x2922;</button>`;
    box.querySelector("img").src = question.results[name];
    box.querySelector(".pick").addEventListener("click", () => toggle(name));
    box.querySelector(".look").addEventListener("click", () => view(i));
    return box;
  }

  function mark(question) {
    const { picks, skipped } = answer(question);
    for (const box of $("results").children) {
      const picked = picks.includes(box.dataset.name);
      box.classList.toggle("picked", picked);
      box.querySelector(".pick").setAttribute("aria-pressed", picked);
    }
    $("skip").classList.toggle("main", skipped);
    $("skip").setAttribute("aria-pressed", skipped);
    $("next").textContent = state.at + 1 < study.questions.length ? "Next \u2192" : "Finish \u2192";
    const done = study.questions.filter(decided).length;
    $("bar").firstElementChild.style.width = `${(100 * done) / study.questions.length}%`;
  }

  function say(text) {
    $("hint").textContent = text;
  }

  function toggle(name) {
    const question = questions()[state.at];
    const given = answer(question);
    if (given.picks.includes(name)) {
      given.picks = given.picks.filter((other) => other !== name);
    } else if (given.picks.length < most) {
      given.picks.push(name);
    } else if (most === 1) {
      given.picks = [name];
    } else {
      const box = [...$("results").children].find((other) => other.dataset.name === name);
      box.classList.remove("refused");
      void box.offsetWidth; // lets the animation start again
      box.classList.add("refused");
      say(`You have picked ${most}: take one back first.`);
      return;
    }
    given.skipped = false;
    say("");
    settled(question);
  }

  function skip() {
    const question = questions()[state.at];
    const given = answer(question);
    given.skipped = !given.skipped;
    if (given.skipped) given.picks = [];
    settled(question);
    if (given.skipped) go(1);
  }

  function settled(question) {
    saved = false;
    mark(question);
    keep();
  }

  function go(step) {
    const question = questions()[state.at];
    if (step > 0 && question && !decided(question)) {
      say("Pick at least one, or say that you cannot tell.");
      return;
    }
    clock(false);
    state.at = Math.max(0, Math.min(study.questions.length, state.at + step));
    keep();
    show();
    window.scrollTo(0, 0);
    if (!$("ask").hidden) $("question").focus({ preventScroll: true });
  }

  // --- the large view: one picture, and the target in its place while asked for ---------------------------------

  let looked = 0;

  function view(i) {
    const question = questions()[state.at];
    const order = shown(question);
    looked = (i + order.length) % order.length;
    const name = order[looked];
    $("large-image").src = question.results[name];
    $("large-image").alt = $("large-name").textContent = `Result ${looked + 1}`;
    $("large-pick").textContent = answer(question).picks.includes(name) ? "Take back" : "Pick";
    if (!$("large").open) $("large").showModal();
  }

  function instead(target) {
    if (!$("large").open) return;
    if (!target) return view(looked);
    $("large-image").src = questions()[state.at].target;
    $("large-image").alt = $("large-name").textContent = "Target";
  }

  function pickLarge() {
    toggle(shown(questions()[state.at])[looked]);
    view(looked);
  }

  // --- the end --------------------------------------------------------------------------------------------------

  function told() {
    const answers = study.questions.filter(decided).map((question) => {
      const { picks, skipped, seconds } = answer(question);
      const order = shown(question);
      return {
        question: question.id,
        shown: order,
        picks: order.filter((name) => picks.includes(name)),
        skipped,
        seconds: Math.round(seconds * 10) / 10,
      };
    });
    const head = { format: `${study.format}-picks`, version: 1, study: study.study, participant: state.participant };
    return JSON.stringify({ ...head, picks: most, answers }, null, 1) + "\n";
  }

  function end(order) {
    const open = order.findIndex((question) => !decided(question));
    if (open >= 0) {
      state.at = open;
      return show();
    }
    $("end-text").textContent = `You have answered all ${order.length} questions. Save your picks and send the file ` +
      "to whoever gave you this page; nothing has been sent by itself.";
    $("text").value = told();
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([told()], { type: "application/json" }));
    link.download = `picks-${study.study.slice(0, 6)}-${state.participant}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
    $("saved").textContent = `Saved as ${link.download}, where your browser puts downloads.`;
  }

  async function copy() {
    saved = true;
    try {
      await navigator.clipboard.writeText(told());
    } catch {
      $("text").closest("details").open = true;
      $("text").select();
      saved = document.execCommand("copy");
    }
    $("saved").textContent = saved ? "Copied." : "Select the text below and copy it.";
  }

  function another() {
    if (!saved && !confirm("These picks have not been saved. Throw them away?")) return;
    state = fresh();
    saved = false;
    $("saved").textContent = "";
    keep();
    show();
  }

  // --- buttons and keys -----------------------------------------------------------------------------------------

  const theme = { get now() { return document.documentElement.dataset.theme; } };

  function turn() {
    const light = theme.now ? theme.now === "light" : matchMedia("(prefers-color-scheme: light)").matches;
    document.documentElement.dataset.theme = light ? "dark" : "light";
  }

  const clicks = {
    theme: turn, start: () => go(1), back: () => go(-1), next: () => go(1), skip, save, copy, another,
    review: () => go(-1), target: () => { view(0); instead(true); },
    "large-back": () => view(looked - 1), "large-next": () => view(looked + 1), "large-pick": pickLarge,
    "large-close": () => $("large").close(),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
  $("large-target").addEventListener("pointerdown", () => instead(true));
  for (const type of ["pointerup", "pointercancel", "pointerleave"]) {
    $("large-target").addEventListener(type, () => instead(false));
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const large = $("large").open;
    const key = event.key;
    // A control that has the focus does what it always does with Enter and Space.
    const at = event.target instanceof Element ? event.target : document.body;
    const own = at.closest("button, textarea, summary") && (key === "Enter" || key === " ");
    if (own || at.closest("textarea")) return;
    let act = null;
    if (!$("intro").hidden) {
      if (key === "Enter" || key === "ArrowRight") act = () => go(1);
    } else if (!$("end").hidden) {
      if (key === "ArrowLeft") act = () => go(-1);
    } else if (/^[1-9]$/.test(key)) {
      const name = shown(questions()[state.at])[Number(key) - 1];
      if (name) act = () => { if (large) view(Number(key) - 1); else toggle(name); };
    } else if (large) {
      if (key === "ArrowLeft") act = () => view(looked - 1);
      else if (key === "ArrowRight") act = () => view(looked + 1);
      else if (key === "t" || key === "T") act = () => instead(true);
      else if (key === "Enter") act = pickLarge;
      else if (key === "v" || key === "V") act = () => $("large").close();
    } else if (key === "ArrowLeft") act = () => go(-1);
    else if (key === "ArrowRight" || key === "Enter") act = () => go(1);
    else if (key === "0") act = skip;
    else if (key === "v" || key === "V") act = () => view(0);
    if (act) {
      event.preventDefault();
      act();
    }
  }

  // "load" does not bubble, but it can be caught on the way down.
  document.addEventListener("load", ({ target }) => {
    if (target.naturalHeight) target.style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);
    fit();
  }, true);
  addEventListener("resize", fit);
  document.addEventListener("keydown", pressed);
  document.addEventListener("keyup", (event) => { if (event.key === "t" || event.key === "T") instead(false); });
  document.addEventListener("visibilitychange", () => clock(true));
  addEventListener("pagehide", () => clock(false));
  addEventListener("beforeunload", (event) => { if (!keeps && !saved && state.at >= 0) event.preventDefault(); });
  keep();
  show();
})();
