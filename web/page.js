/* What moves in the browser: footnotes, the panel of sources, progress, examples, the saved conversation.
 *
 * Gradio draws the chat; this file reads its DOM and adds to it. Text of documents and models enters the page only as
 * `textContent`, so nothing in it can become markup.
 */
(() => {
  "use strict";

  const data = window.gakjuData;
  const wanted = (navigator.languages || [navigator.language]).map((name) => name.slice(0, 2).toLowerCase());
  const language = wanted.find((name) => name in data.texts) || "en";
  const texts = data.texts[language];
  const SESSION_KEY = "gakju.session";
  const UNANSWERED_KEY = "gakju.unanswered";
  const FOOTNOTE = /\[(\d{1,3})\]/g;

  let turns = []; // one for each answer on the page: the API's JSON object and the question
  let shownTurn = -1; // which turn's sources the panel shows
  let openFootnote = null; // the button that was clicked last: {turn, n}
  let question = ""; // what was asked last, to put it back if nothing was answered
  let isBusy = false;
  let about; // who answers, as the service told; undefined until it did
  let progress = ["", {}]; // what the line above the question box says

  // ---------------------------------------------------------------- small tools

  const find = (selector, within = document) => within.querySelector(selector);
  const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

  /** An element with attributes and children; strings become text, never markup. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value == null) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child != null && child !== ""));
    return element;
  }

  const say = (name, values = {}) =>
    (texts[name] || name).replace(/\{(\w+)\}/g, (whole, key) => (key in values ? values[key] : whole));

  const whoAnswered = (llm) => ({ "quote mode": texts.quote_mode, "instant answer": texts.instant_answer })[llm] || llm;

  /** A value that outlives the page; "" where storage is switched off, then it ends with the page. */
  function stored(storage, key) {
    try { return window[storage].getItem(key) || ""; } catch { return ""; }
  }

  function store(storage, key, value) {
    try {
      if (value) window[storage].setItem(key, value);
      else window[storage].removeItem(key);
    } catch { /* see above */ }
  }

  const remember = (sessionId) => store("localStorage", SESSION_KEY, sessionId);
  const keepUnanswered = (text) => store("sessionStorage", UNANSWERED_KEY, text);

  // ---------------------------------------------------------------- the question box

  const box = () => find("#ask textarea");

  function type(text) {
    const area = box();
    if (!area) return;
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, text);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function send(text) {
    if (isBusy) return;
    type(text);
    setTimeout(() => find("#ask .submit-button")?.click(), 50);
  }

  /** Gradio empties and unlocks the box a moment after the answer ended; what was typed since then stays. */
  function giveBack(text) {
    let left = 50;
    const timer = setInterval(() => {
      const area = box();
      if (area && !area.disabled && !isBusy) {
        if (!area.value) type(text);
        area.focus({ preventScroll: true });
        left -= 15; // look a few times more: the emptying may still come
      }
      if (--left <= 0 || isBusy) clearInterval(timer);
    }, 60);
  }

  // ---------------------------------------------------------------- footnotes in the answers

  /** The answers on the page, each with the index of its turn: that of the question before it, counted from the end.
   *  After a restart of the server Gradio may show fewer turns than there were. */
  function answers() {
    const bubbles = findAll('#chat [data-testid="user"], #chat [data-testid="bot"]');
    const questions = bubbles.filter((bubble) => bubble.dataset.testid === "user").length;
    const isNotYetShown = isBusy && questions === turns.length - 1;
    let index = (isNotYetShown ? 0 : Math.max(0, turns.length - questions)) - 1;
    return bubbles.flatMap((bubble) => {
      if (bubble.dataset.testid === "bot") return [{ bubble, index }];
      index += 1;
      return [];
    });
  }

  const turnOf = (element) => answers().find(({ bubble }) => bubble.closest(".message").contains(element))?.index ?? -1;

  function citationNumbers(turn) {
    return new Set((turn.citations || []).map((citation) => citation.n));
  }

  /** `[1]` in an answer's text becomes a button; code and links keep their brackets. */
  function linkFootnotes(answer, index) {
    const turn = turns[index];
    const known = citationNumbers(turn);
    for (const button of findAll(".cite", answer)) button.dataset.turn = index; // Gradio may have reused the element
    const walker = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT, (node) =>
      /\[\d{1,3}\]/.test(node.data) && !node.parentElement.closest("code, pre, a, button, .katex")
        ? NodeFilter.FILTER_ACCEPT
        : NodeFilter.FILTER_REJECT,
    );
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    for (const node of nodes) {
      const pieces = [];
      let from = 0;
      for (const match of node.data.matchAll(FOOTNOTE)) {
        const n = Number(match[1]);
        if (turn.status !== "pending" && !known.has(n)) continue;
        pieces.push(node.data.slice(from, match.index), footnoteButton(index, n));
        from = match.index + match[0].length;
      }
      if (pieces.length) node.replaceWith(...pieces.filter((piece) => piece !== ""), node.data.slice(from));
    }
  }

  function footnoteButton(index, n) {
    return make("button", {
      type: "button", class: "cite", "data-turn": index, "data-n": n, "aria-label": say("source", { n }),
    }, `[${n}]`);
  }

  /** The line under an answer: who answered, how many sources, how long it took. */
  function drawFooter(answer, index) {
    const turn = turns[index];
    const bubble = answer.closest(".message") || answer;
    const key = `${turn.turn_id}|${turn.status}|${turn.notice}|${index === shownTurn}`;
    const old = find(":scope > .answer-line", bubble);
    if (old?.dataset.key === key) return;
    old?.remove();
    if (turn.status === "pending" || (!turn.llm && turn.status !== "interrupted")) return;
    const parts = [];
    if (turn.llm) parts.push(make("span", { class: "who" }, say("answered_by", { llm: whoAnswered(turn.llm) })));
    if (turn.refused) parts.push(make("span", { class: "tag" }, texts.refused));
    if (turn.wasStopped) parts.push(make("span", {}, texts.stopped));
    const tookMs = turn.timings?.total_ms;
    if (tookMs) parts.push(make("span", {}, say("took", { seconds: (tookMs / 1000).toFixed(1) })));
    if (turn.search_query && turn.question && turn.search_query.trim() !== turn.question.trim()) {
      parts.push(make("span", { class: "query" }, say("searched_for", { query: turn.search_query })));
    }
    const count = (turn.citations || []).length;
    if (count || (turn.retrieved || []).length) {
      parts.push(make("button", {
        type: "button", class: "open-sources", "data-turn": index, "aria-pressed": String(index === shownTurn),
      }, `${texts.open_sources} ${count}`));
    }
    const toCheck = doubted(turn).length;
    if (toCheck) {
      parts.push(make("button", { type: "button", class: "open-claims", "data-turn": index },
        say("claims_button", { count: toCheck })));
    }
    if (turn.notice) parts.push(make("span", { class: "notice" }, texts[`notice_${turn.notice}`] || turn.notice));
    bubble.append(make("div", { class: "answer-line", "data-key": key }, parts));
  }

  /** Questions to ask next, under the latest answer alone: those of earlier ones were asked or passed over. */
  function drawRelated(answer, index) {
    const turn = turns[index];
    const bubble = answer.closest(".message") || answer;
    const questions = index === turns.length - 1 && !isBusy ? turn.related || [] : [];
    const key = `${turn.turn_id}|${questions.length}`;
    const old = find(":scope > .related", bubble);
    if (old?.dataset.key === key) return;
    old?.remove();
    if (!questions.length) return;
    const buttons = questions.map((text) =>
      make("li", {}, make("button", { type: "button", class: "next-question", onclick: () => send(text) }, text)));
    const log = find("#chat .bubble-wrap");
    const isAtEnd = log && log.scrollHeight - log.scrollTop - log.clientHeight < 120;
    bubble.append(make("section", { class: "related", "data-key": key, "aria-label": texts.ask_next },
      make("h3", {}, texts.ask_next), make("ul", {}, buttons)));
    if (isAtEnd) log.scrollTop = log.scrollHeight; // who reads further up stays there
  }

  function decorate() {
    document.body.classList.toggle("is-empty", !isBusy && !find('#chat [data-testid="user"], #chat [data-testid="bot"]'));
    for (const { bubble, index } of answers()) {
      if (!turns[index]) continue;
      linkFootnotes(bubble, index);
      drawFooter(bubble, index);
      drawRelated(bubble, index);
    }
    labelControls();
    measure();
  }

  function measure() {
    const layout = find("#layout");
    const above = layout && `${Math.round(layout.getBoundingClientRect().top + scrollY)}px`;
    const style = document.documentElement.style;
    if (above && style.getPropertyValue("--above") !== above) style.setProperty("--above", above);
  }

  /** Gradio's icon buttons have no accessible name, and its box loses the placeholder after the first question. */
  function labelControls() {
    const area = box();
    if (area && area.placeholder !== texts.placeholder) area.placeholder = texts.placeholder;
    if (area && area.getAttribute("aria-label") !== texts.question) area.setAttribute("aria-label", texts.question);
    for (const [selector, name] of [["#ask .submit-button", texts.send], ["#ask .stop-button", texts.stop]]) {
      const button = find(selector);
      if (button && button.getAttribute("aria-label") !== name) {
        button.setAttribute("aria-label", name);
        button.title = name;
      }
    }
  }

  // ---------------------------------------------------------------- the panel of sources

  function placeOf(evidence) {
    const { page, slide, sheet, rows } = evidence.place || {};
    return [
      page != null && say("page", { page }),
      slide != null && say("slide", { slide }),
      sheet != null && say("sheet", { sheet }),
      rows && (rows[0] === rows[1] ? say("row", { first: rows[0] }) : say("rows", { first: rows[0], last: rows[1] })),
    ].filter(Boolean).join(" · ");
  }

  /** A passage with its highlights marked. Spans count characters as Python does: code points, not UTF-16 units. */
  function passage(evidence) {
    const characters = Array.from(evidence.text);
    const spans = [...(evidence.highlights || [])].sort((a, b) => a[0] - b[0]);
    const pieces = [];
    let at = 0;
    for (const [start, end] of spans) {
      if (start < at || end <= start) continue;
      pieces.push(characters.slice(at, start).join(""), make("mark", {}, characters.slice(start, end).join("")));
      at = end;
    }
    // Rows from the middle of a table are read under its header.
    const header = evidence.table_header && make("div", { class: "table-header" }, evidence.table_header);
    return make("blockquote", {}, header, pieces, characters.slice(at).join(""));
  }

  function entryHead(evidence, number) {
    const heading = (evidence.heading || []).join(" › ");
    const place = placeOf(evidence);
    return [
      make("div", { class: "entry-title" }, make("span", { class: "number" }, number), make("b", {}, evidence.title)),
      make("div", { class: "entry-where" },
        make("span", { class: "path" }, evidence.document), place && make("span", {}, place),
        heading && make("span", { class: "heading" }, heading)),
    ];
  }

  function scoresOf({ scores = {} }) {
    const show = (value, digits) => (value == null ? "–" : value.toFixed(digits));
    return say("scores", { meaning: show(scores.meaning, 2), words: show(scores.words, 1) });
  }

  function citedEntry(citation) {
    return make("li", { id: `cite-${citation.n}`, tabindex: "-1", class: "entry", "aria-label": say("source", { n: citation.n }) },
      entryHead(citation, String(citation.n)), passage(citation),
      make("button", { type: "button", class: "back" }, `↑ ${texts.back}`));
  }

  function uncitedEntry(evidence) {
    return make("li", { class: "entry" }, make("details", {},
      make("summary", {}, entryHead(evidence, "·"), make("div", { class: "entry-scores" }, scoresOf(evidence))),
      passage(evidence)));
  }

  function drawPanel() {
    const panel = find("#sources");
    if (!panel) return;
    const turn = turns[shownTurn];
    panel.setAttribute("aria-label", texts.sources);
    const head = make("header", {}, make("h2", {}, texts.sources),
      turn?.question && make("p", { class: "of" }, `${texts.sources_of}: `, make("q", {}, clip(turn.question, 90))));
    panel.replaceChildren(head, ...panelBody(turn));
  }

  function panelBody(turn) {
    if (!turn) return [make("p", { class: "hint" }, texts.sources_empty)];
    if (turn.status === "pending") return [make("p", { class: "hint" }, texts.sources_waiting)];
    const cited = turn.citations || [];
    const ids = new Set(cited.map((citation) => citation.chunk_id));
    const others = (turn.retrieved || []).filter((evidence) => !ids.has(evidence.chunk_id));
    return [
      claimsToCheck(turn),
      cited.length
        ? make("ol", { class: "entries cited", "aria-label": texts.cited }, cited.map(citedEntry))
        : make("p", { class: "hint" }, texts.sources_none),
      others.length && make("details", { class: "others" },
        make("summary", {}, `${texts.not_cited} (${others.length})`),
        make("ol", { class: "entries" }, others.map(uncitedEntry))),
    ].filter(Boolean);
  }

  const doubted = (turn) => (turn.claims || []).filter((claim) =>
    claim.verdict === "unsupported" || claim.verdict === "uncited" || claim.soft);

  /** Sentences of the answer that a reader should look at, each with what speaks against it. */
  function claimsToCheck(turn) {
    const claims = doubted(turn);
    if (!claims.length) return null;
    const known = citationNumbers(turn);
    const source = (n) => make("button", {
      type: "button", class: "cite", "aria-label": say("source", { n }), onclick: () => openCitation(shownTurn, n),
    }, `[${n}]`);
    const entry = (claim) => make("li", { class: "claim" },
      make("div", { class: "claim-head" },
        make("span", { class: "tag" }, texts[`claim_${claim.verdict === "supported" ? "soft" : claim.verdict}`]),
        (claim.cited || []).filter((n) => known.has(n)).map(source)),
      make("q", {}, clip(claim.text, 200)),
      (claim.reasons || []).filter((reason) => texts[`reason_${reason.kind}`]).map((reason) => make("div", { class: "reason" },
        say(`reason_${reason.kind}`, { claimed: reason.claimed }),
        reason.found && make("span", { class: "found" }, ` · ${say("reason_found", { found: clip(reason.found, 120) })}`))));
    return make("details", { class: "claims", open: claims.length <= 3 },
      make("summary", {}, say("claims_to_check", { count: claims.length })),
      make("ul", {}, claims.map(entry)), make("p", { class: "hint" }, texts.claims_hint));
  }

  const clip = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

  function showTurn(index) {
    shownTurn = index;
    drawPanel();
    decorate();
  }

  function openCitation(index, n) {
    if (index !== shownTurn) showTurn(index);
    openFootnote = { turn: index, n };
    const entry = find(`#cite-${n}`);
    if (!entry) return;
    findAll("#sources .is-open").forEach((other) => other.classList.remove("is-open"));
    entry.classList.add("is-open");
    entry.focus({ preventScroll: true });
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const isTall = entry.offsetHeight > innerHeight * 0.7; // then the marked sentence matters more than the head
    const target = (isTall && find("mark", entry)) || entry;
    target.scrollIntoView({ behavior: isCalm ? "auto" : "smooth", block: isTall ? "center" : "nearest" });
  }

  function openClaims(index) {
    if (index !== shownTurn) showTurn(index);
    const box = find("#sources .claims");
    if (!box) return;
    box.open = true;
    find("summary", box).focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest" });
  }

  function backToAnswer() {
    const from = openFootnote;
    const button = from && find(`#chat .cite[data-turn="${from.turn}"][data-n="${from.n}"]`);
    const target = button || answers().find(({ index }) => index === shownTurn)?.bubble;
    target?.scrollIntoView({ block: "center" });
    button?.focus({ preventScroll: true });
  }

  // ---------------------------------------------------------------- progress, banner, welcome

  /** `isQuiet`: only for those who listen; the page shows it in another way. */
  function report(text, { isWorking = false, isQuiet = false } = {}) {
    progress = [text, { isWorking, isQuiet }];
    drawProgress();
  }

  function drawProgress() {
    const line = find("#progress");
    if (!line) return;
    const [text, { isWorking = false, isQuiet = false }] = progress;
    line.classList.toggle("is-working", isWorking);
    line.classList.toggle("is-quiet", isQuiet);
    line.classList.toggle("is-empty", !text);
    if (line.textContent !== text) line.textContent = text;
  }

  function phaseText(turn) {
    if (turn.phase === "searching") return say("phase_searching", { query: clip(turn.search_query, 120) });
    if (turn.phase === "reading") return say("phase_reading", { found: turn.found });
    return { asking: texts.phase_asking, answering: texts.phase_answering, checking: texts.phase_checking,
      suggesting: texts.phase_suggesting }[turn.phase] || texts.phase_start;
  }

  function drawBanner() {
    const banner = find("#banner");
    if (!banner || about === undefined) return;
    banner.className = about ? (about.is_quoting ? "is-quoting" : "is-llm") : "is-unknown";
    if (!about) return banner.replaceChildren(make("span", {}, texts.banner_unknown));
    const count = (number) => number.toLocaleString(language);
    const documents = say("banner_documents", { documents: count(about.documents), chunks: count(about.chunks) });
    banner.replaceChildren(
      ...(about.is_quoting
        ? [make("span", {}, `${texts.banner_quoting} `, make("code", {}, "LLM_BASE_URL=http://127.0.0.1:8001/v1"))]
        : [make("span", {}, about.llm ? say("banner_llm", { llm: about.llm }) : texts.banner_llm_away)]),
      make("span", { class: "counts" }, documents),
    );
  }

  function drawWelcome() {
    const brand = find("#brand");
    brand?.replaceChildren(make("h1", {}, texts.title), make("p", {}, texts.tagline));
    const own = data.examples.filter((example) => example.language === language);
    const others = data.examples.filter((example) => example.language !== language);
    const buttons = [...own, ...others].map((example) =>
      make("button", { type: "button", class: "example", lang: example.language, onclick: () => send(example.question) },
        example.question));
    find("#welcome")?.replaceChildren(
      make("h2", {}, texts.welcome_title), make("p", {}, texts.welcome_text),
      make("div", { class: "examples", role: "group", "aria-label": texts.examples }, buttons));
  }

  // ---------------------------------------------------------------- what page.py calls

  /** Whether more of the turn may come. */
  const isOpen = (turn) => turn.status === "pending" || Boolean(turn.phase);

  /** The answer was whole before it was stopped, or the connection lost: it stays, without questions to ask next. */
  function settle({ phase, ...turn }) {
    turns = [...turns.slice(0, -1), turn];
    remember(turn.session_id);
  }

  /** After a restart of the server Gradio shows the newest turn alone; the service still has them all. */
  function completeView() {
    if (!isBusy && findAll('#chat [data-testid="user"]').length < turns.length) find("#reload")?.click();
  }

  window.gakju = {
    savedSession: () => stored("localStorage", SESSION_KEY),

    /** Also after a lost connection: Gradio then loads the whole page anew, and the question would be gone. */
    loaded(state) {
      const lost = stored("sessionStorage", UNANSWERED_KEY);
      const isUnanswered = lost && state.turns.at(-1)?.question !== lost;
      isBusy = false;
      turns = state.turns;
      shownTurn = turns.length - 1;
      about = state.about;
      keepUnanswered("");
      if (!["memory_unavailable", "internal"].includes(state.problem)) remember(state.session_id);
      drawBanner();
      drawPanel();
      const problem = { session_not_found: texts.lost_session, "": "" }[state.problem] ?? texts.history_lost;
      report(isUnanswered ? texts.connection_lost : problem);
      decorate();
      if (isUnanswered) giveBack(lost);
    },

    asked() {
      isBusy = true;
      keepUnanswered(question);
      turns = [...turns, { status: "pending", phase: "starting", question, citations: [], retrieved: [] }];
      shownTurn = turns.length - 1;
      drawPanel();
      report(texts.phase_start, { isWorking: true });
      decorate();
    },

    /** Takes the JSON object of the answer under way; returns the session id for the next question. */
    turn(update) {
      const current = turns.at(-1);
      if (!update || !current) return update?.session_id || "";
      turns = [...turns.slice(0, -1), { ...update, question: current.question }];
      if (isOpen(update)) {
        report(phaseText(update), { isWorking: true });
        if (update.status !== "pending") { // whole: only questions to ask next may still come
          drawPanel();
          requestAnimationFrame(decorate);
        }
        return update.session_id;
      }
      isBusy = false;
      keepUnanswered("");
      report(update.error ? texts.failed : texts.done, { isQuiet: true });
      drawPanel();
      requestAnimationFrame(decorate);
      if (update.error && update.status !== "interrupted") giveBack(current.question);
      const sessionId = update.error?.code === "session_not_found" ? "" : update.session_id;
      remember(sessionId);
      if (update.status === "complete" && !update.notice) setTimeout(completeView, 500);
      return sessionId;
    },

    stopped() {
      isBusy = false;
      keepUnanswered("");
      const current = turns.at(-1);
      if (current?.status === "pending") {
        turns = [...turns.slice(0, -1), { ...current, status: "interrupted", phase: "", wasStopped: true }];
        if (current.phase !== "answering" && current.phase !== "checking") giveBack(current.question);
      }
      const isWhole = current?.phase === "suggesting";
      if (isWhole) settle(current);
      report(isWhole ? texts.done : texts.stopped, { isQuiet: isWhole });
      drawPanel();
      requestAnimationFrame(decorate);
    },

    /** Returns a change of the question box. Gradio also calls a stopped answer failed, and then unlocks the box itself. */
    failed() {
      const current = turns.at(-1);
      if (!current || !isOpen(current)) return { __type__: "update" };
      isBusy = false;
      keepUnanswered("");
      if (current.status === "pending") {
        turns = [...turns.slice(0, -1), { ...current, status: "failed" }];
        report(texts.connection_lost);
        giveBack(current.question);
      } else {
        settle(current);
        report("");
      }
      drawPanel();
      return { __type__: "update", interactive: true, submit_btn: true, stop_btn: false };
    },

    reset() {
      turns = [];
      shownTurn = -1;
      isBusy = false;
      remember("");
      report("");
      drawPanel();
      decorate();
      box()?.focus();
    },
  };

  // ---------------------------------------------------------------- listening

  document.addEventListener("click", (event) => {
    const cite = event.target.closest?.("#chat .cite");
    if (cite) return openCitation(turnOf(cite), Number(cite.dataset.n));
    const open = event.target.closest?.("#chat .open-sources");
    if (open) {
      showTurn(turnOf(open));
      return find("#sources")?.scrollIntoView({ behavior: "smooth", block: "nearest" });
    }
    const check = event.target.closest?.("#chat .open-claims");
    if (check) return openClaims(turnOf(check));
    if (event.target.closest?.("#sources .back")) backToAnswer();
  });

  function startAnew(event) {
    if (!isBusy) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    const button = event.target.closest("#new");
    find("#ask .stop-button")?.click();
    const timer = setInterval(() => {
      if (isBusy || box()?.disabled) return;
      clearInterval(timer);
      button.click();
    }, 50);
  }
  document.addEventListener("click", (event) => {
    // Gradio writes the stopped answer into its state a moment later, so the old conversation ends before the new begins.
    if (event.target.closest?.("#new")) startAnew(event);
  }, true);

  // The box is emptied before Gradio tells of the submit, so what it holds is read when the key or button goes down.
  const keep = () => { question = box()?.value ?? ""; };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === box()) keep();
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#ask .submit-button")) keep();
  }, true);

  // Enter that ends a syllable of a Korean input method must not send the question.
  for (const name of ["keydown", "keypress"]) {
    document.addEventListener(name, (event) => {
      const isComposing = event.isComposing || event.keyCode === 229;
      if (event.key === "Enter" && isComposing && event.target.closest?.("#ask")) event.stopImmediatePropagation();
    }, true);
  }

  addEventListener("resize", () => measure());

  let isScheduled = false;
  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      if (!find("#brand h1")) drawWelcome();
      if (!find("#banner span")) drawBanner();
      if (!find("#sources header")) drawPanel();
      drawProgress();
      decorate();
    });
  }
  new MutationObserver(schedule).observe(document.documentElement, { childList: true, subtree: true, characterData: true });
})();
