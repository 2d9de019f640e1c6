// The page: takes the files, hands them to the worker, shows its report. Every text that comes
// from a file is set as text, never as markup.

const { WORDS, CLASSES, VERSION, WORKER } = globalThis.EVIDENCE;
const DIGESTS = { "sha-256": "SHA-256", sm3: "SM3", "sha-512": "SHA-512" };
const WORKER_URL = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));

const state = { lang: "en", outcome: null, sm3: null, at: null, worker: null, busy: false };

const find = (id) => document.getElementById(id);

function t(key, values = {}) {
  return WORDS[state.lang][key].replace(/{(\w+)}/g, (_, name) => values[name]);
}

/** A word that may be missing here, as a newer kind of role would be: itself then. */
function known(prefix, name) {
  return WORDS[state.lang][`${prefix}.${name}`] ?? name;
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const given = (text) => make("span", { class: "given", translate: "no" }, String(text));
const section = (title, ...children) => make("section", {}, make("h2", {}, title), ...children);

/** `2026-11-24T14:03:05.123456Z` for people, in UTC to the second. */
function moment(text) {
  const [year, month, day] = text.slice(0, 10).split("-").map(Number);
  const date = t("calendar.date", { year, month: t("calendar.months").split(" ")[month - 1], day });
  return t("calendar.moment", { date, clock: text.slice(11, 19) });
}

const grouped = (hex) => make("code", { translate: "no" }, hex.replace(/(.{4})(?=.)/g, "$1 "));

function bytes(size) {
  const shown = size.toLocaleString(state.lang === "zh" ? "zh-CN" : "en");
  return t("pdf.size_bytes", { size: shown });
}

// --- the report ------------------------------------------------------------------------------

/** What `notary verify --json` prints. */
function reportObject({ report }) {
  const { facts, document: judged } = report;
  const words = verdictWords(report);
  return {
    verdict: report.verdict,
    code: report.code,
    exit_status: report.exitStatus,
    ...words,
    trusted_keys: report.trustedKeys,
    trust_note: trustNote(report),
    checks: report.checks.map(({ name, status, code, detail }) => (
      { name, status, code, sentence: t(`check.${name}.${status}`), detail })),
    facts: facts && {
      certificate_id: facts.certificateId, issuer: facts.issuer, origin: facts.origin,
      deposit_id: facts.depositId, leaf_index: facts.index, tree_size: facts.size,
      sections: facts.sections, received_at: facts.receivedAt, registered_at: facts.registeredAt,
      timestamped_at: facts.timestampedAt, issued_at: facts.issuedAt,
      self_operated_time_only: facts.selfOperatedOnly,
    },
    document: judged && {
      digests: { "sha-256": judged.sha256, ...(state.sm3 ? { sm3: state.sm3 } : {}) },
      size: judged.size,
    },
  };
}

function verdictWords({ code, facts }) {
  const key = `verdict.${CLASSES[code]}.${code}`;
  const values = { registered_at: facts ? moment(facts.registeredAt) : "" };
  return { headline: t(`${key}.headline`, values), explanation: t(`${key}.explanation`, values) };
}

function trustNote({ trustedKeys }) {
  return t(trustedKeys ? "trust.trust_file" : "trust.embedded_only");
}

function verdictBox(report) {
  const { headline, explanation } = verdictWords(report);
  const label = make("p", { class: "class" },
    make("span", { class: "mark", "aria-hidden": "true" }), t(`class.${report.verdict}`));
  const lead = make("p", { class: "lead" }, explanation);
  return make("section", { class: `verdict ${report.verdict}` }, label, make("h1", {}, headline), lead);
}

function comparison({ report, file }) {
  const judged = report.document;
  const content = report.facts?.sections.content ?? null;
  if (judged === null && content === null) return null;
  const none = t("verdict.none");
  const unknown = report.facts === null ? t("page.hidden") : t("verdict.not_known");
  const rows = [
    [t("pdf.name"), file ? given(file.name) : none,
      content ? (content.name ? given(content.name) : t("pdf.name_none")) : unknown],
    [t("pdf.size"), judged ? bytes(judged.size) : none,
      typeof content?.size === "number" ? bytes(content.size) : unknown],
    ...["sha-256", "sm3"].map((name) => [DIGESTS[name], ourDigest(name, judged),
      registeredDigest(name, content, unknown)]),
  ];
  const heads = [t("verdict.what"), t("verdict.yours"), t("verdict.registered")];
  const cell = (value, n) => make("td", { "data-label": heads[n + 1] }, value);
  return section(t("verdict.compare"), make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(([name, ...values]) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...values.map(cell))))));
}

function ourDigest(name, judged) {
  if (judged === null) return t("verdict.none");
  if (name === "sha-256") return grouped(judged.sha256);
  return state.sm3 ? grouped(state.sm3) : t("page.computing");
}

function registeredDigest(name, content, unknown) {
  if (content === null) return unknown;
  const found = content.digests?.[name];
  return typeof found === "string" ? grouped(found) : t("page.not_listed");
}

function facts({ facts: said }) {
  if (said === null) return null;
  const { case: matter, depositor } = said.sections;
  const rows = [
    [t("verdict.issuer"), given(said.issuer)],
    [t("pdf.number"), make("code", { translate: "no" }, said.certificateId)],
    [t("pdf.registration"), make("code", { translate: "no" }, said.depositId)],
    matter && [t("pdf.case_number"), given(`${matter.number}, ${matter.court}`)],
    matter?.exhibit && [t("pdf.exhibit"), given(matter.exhibit)],
    depositor && [t("pdf.depositor"), given(`${depositor.account} (${known("role", depositor.role)})`)],
    ...[["received_at", said.receivedAt], ["registered_at", said.registeredAt],
      ["timestamped_at", said.timestampedAt], ["issued_at", said.issuedAt]].map(([name, at]) =>
      [t(`pdf.${name}`), at ? moment(at) : t("pdf.not_yet")]),
    [t("pdf.origin"), given(said.origin)],
    [t("pdf.entry"), t("pdf.entry_of", { index: said.index, size: said.size })],
  ].filter(Boolean);
  const list = make("dl", {}, ...rows.flatMap(([term, value]) =>
    [make("dt", {}, term), make("dd", {}, value)]));
  const own = said.selfOperatedOnly ? make("p", { class: "note" }, t("verdict.self_operated")) : null;
  return section(t("verdict.facts"), list, own);
}

function checks(report) {
  const items = report.checks.map(({ name, status, detail }) => make("li", { class: status },
    make("span", { class: "mark", "aria-hidden": "true" }),
    make("div", {},
      make("p", {}, make("strong", {}, t(`check.${name}.label`)),
        make("span", { class: "state" }, t(`status.${status}`))),
      make("p", {}, t(`check.${name}.${status}`)),
      detail ? make("p", { class: "detail", lang: "en" }, given(detail)) : null)));
  return section(t("verdict.checks"), make("ul", { class: "checks" }, ...items),
    make("p", {}, trustNote(report)));
}

function proves() {
  const side = (title, kind, prefix) => make("div", { class: "card" }, make("h2", {}, t(title)),
    make("ul", { class: `marks ${kind}` },
      ...[1, 2, 3].map((n) => make("li", {}, t(`pdf.${prefix}_${n}`)))));
  return make("section", { class: "pair" },
    side("proves.yes", "yes", "proves"), side("proves.no", "no", "proves_not"));
}

function actions() {
  const print = make("button", { type: "button" }, t("page.print"));
  print.addEventListener("click", () => globalThis.print());
  const again = make("button", { type: "button", class: "second" }, t("page.again"));
  again.addEventListener("click", askAgain);
  return make("p", { class: "actions" }, print, again);
}

function show() {
  const { report } = state.outcome;
  const data = make("pre", { id: "report", tabindex: "0", translate: "no" },
    JSON.stringify(reportObject(state.outcome), null, 2));
  find("result").replaceChildren(...[
    verdictBox(report), comparison(state.outcome), facts(report), checks(report),
    report.facts === null ? null : proves(),
    section(t("page.sent"), make("p", {}, t("page.nothing_sent")),
      make("p", { class: "dim" }, t("page.made", { at: moment(state.at), version: VERSION }))),
    make("details", {}, make("summary", {}, t("page.data")), data), actions(),
  ].filter(Boolean));
}

// --- the question -----------------------------------------------------------------------------

function speak(lang) {
  state.lang = lang;
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
  document.title = t("page.title");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  const other = find("language");
  other.textContent = t("page.other_language");
  other.lang = lang === "zh" ? "en" : "zh-Hans";
  if (state.outcome !== null) show();
}

/** `is` is idle, busy, failed, judged, or whole once SM3 is there as well. */
function become(is) {
  document.body.dataset.state = is;
  find("busy").hidden = is !== "busy";
  find("form").querySelector("button").disabled = is === "busy";
}

function tell(text, detail = "") {
  find("status").replaceChildren(text, ...(detail ? [make("span", { class: "hint" }, given(detail))] : []));
}

function askAgain() {
  end();
  find("form").reset();
  state.outcome = null;
  find("result").hidden = true;
  find("ask").hidden = false;
  tell("");
  become("idle");
  find("certificate").focus();
}

/** What is still being worked on is no longer asked for. An idle worker is used again. */
function end() {
  if (!state.busy) return;
  state.worker.terminate();
  [state.worker, state.busy] = [null, false];
}

function start(task, answer) {
  end();
  state.worker ??= new Worker(WORKER_URL);
  state.busy = true;
  state.worker.onmessage = ({ data }) => {
    state.busy = data.kind === "progress";
    answer(data);
  };
  state.worker.onerror = (event) => {
    end();
    answer({ kind: "fault", detail: event.message });
  };
  state.worker.postMessage(task);
}

function check(event) {
  event.preventDefault();
  const [certificate, file, trust] = ["certificate", "document", "trust"].map((id) => find(id).files[0]);
  const related = [...find("related").files];
  if (certificate === undefined) {
    become("failed");
    tell(t("page.choose"));
    find("certificate").focus();
    return;
  }
  end();
  state.sm3 = null;
  become("busy");
  find("progress").removeAttribute("value");
  tell(t("page.judging"));
  start({ task: "judge", certificate, document: file, trust, related }, answered);
}

function answered(message) {
  if (message.kind === "progress") {
    const part = message.total ? message.done / message.total : 1;
    find("progress").value = part;
    tell(part < 1 ? t("page.reading", { percent: Math.floor(part * 100) }) : t("page.judging"));
    return;
  }
  if (message.kind !== "report") {
    become("failed");
    const said = { trust: t("page.trust_unreadable"), disposal: t("page.disposal_alone") };
    tell(said[message.kind] ?? t("page.fault"), message.detail);
    return;
  }
  state.outcome = message;
  state.at = new Date().toISOString();
  tell("");
  show();
  find("ask").hidden = true;
  find("result").hidden = false;
  find("result").focus();
  become("judged");
  if (message.file) start({ task: "sm3", file: message.file }, (said) => {
    if (said.kind !== "sm3") return;
    state.sm3 = said.sm3;
    show();
    become("whole");
  });
}

function takeDrops() {
  for (const input of document.querySelectorAll("input[type=file]")) {
    const zone = input.closest(".field");
    const mark = (on) => input.classList.toggle("over", on);
    zone.addEventListener("dragover", () => mark(true));
    zone.addEventListener("dragleave", () => mark(false));
    zone.addEventListener("drop", (event) => {
      mark(false);
      if (input.multiple || event.dataTransfer.files.length === 1) input.files = event.dataTransfer.files;
    });
  }
  // Elsewhere a browser would leave the page for the file that was let go.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
}

find("form").addEventListener("submit", check);
find("language").addEventListener("click", () => speak(state.lang === "en" ? "zh" : "en"));
takeDrops();
speak(location.hash === "#zh" || (location.hash !== "#en" && /^zh/i.test(navigator.language)) ? "zh" : "en");
