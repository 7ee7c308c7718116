// The status page: asks the service again and again and writes the answers into the page.
//
// Everything that the server says becomes text (`textContent`), never markup. The token is kept in memory, and in the tab's
// session storage only where its owner asks for that. Addresses are relative, so that a proxy may put the page under any folder.

const BUSY_MS = 2000; // between two questions while a job of ours is open
const IDLE_MS = 5000; // and while none is
const LONGEST_MS = 30000; // most, for long lists and while the server does not answer
const PATIENCE_MS = 15000; // for one answer
const STORAGE = "sordino-token";
const SHOWN = 10; // jobs that are over, unless more are asked for
const FINAL = ["done", "failed", "cancelled"];

const at = (id) => document.getElementById(id);

/** What is known. `session` tells answers to an old token from those to the present one. */
const known = { token: null, session: 0, models: null, version: null, states: null, failures: 0, answered: null, all: false };
let timer = 0;
let asking = false;
let again = false;

// ---- Words -----------------------------------------------------------------------------------------------------------------------

const count = (value) => Math.round(value).toLocaleString("en-US");
const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;
const percent = (share) => `${Math.floor(100 * Math.min(1, share))} %`;
const digits = (value) => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);

function bytes(value) {
  if (value < 1024) return `${count(value)} B`;
  let unit = -1;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1)} ${["KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

function seconds(value) {
  if (value <= 0) return "0 s";
  if (value < 1e-3) return `${digits(value * 1e6)} µs`;
  if (value < 1) return `${digits(value * 1e3)} ms`;
  if (value < 120) return `${digits(value)} s`;
  if (value < 7200) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
}

/** What is left is an estimate and is said like one. */
function left(value) {
  if (value < 90) return `about ${plural(Math.max(1, Math.round(value)), "second", "seconds")} left`;
  if (value < 5400) return `about ${count(value / 60)} minutes left`;
  return `about ${digits(value / 3600)} hours left`;
}

const clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = (date) => date.toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

function stateText(job) {
  if (job.state === "queued" && job.jobs_ahead !== undefined) {
    return job.jobs_ahead === 0 ? "Queued, next" : `Queued, ${plural(job.jobs_ahead, "job", "jobs")} ahead`;
  }
  return job.state.charAt(0).toUpperCase() + job.state.slice(1);
}

/** The share that is done, where there is something to wait for, and the line below it. */
function progressOf(job) {
  if (job.state === "uploading") {
    const received = job.chunks.received.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    const of = job.chunks.of;
    if (received >= of) return { share: 1, text: "all of it is here, not started" };
    return { share: received / of, text: `${percent(received / of)}, ${count(received)} of ${plural(of, "chunk", "chunks")}` };
  }
  if (job.state === "running") {
    const { done = 0, of = 0, step = "", seconds_left } = job.progress ?? {};
    const parts = [of > 0 ? percent(done / of) : "", step, seconds_left === undefined ? "" : left(seconds_left)];
    return { share: of > 0 ? done / of : null, text: parts.filter(Boolean).join(", ") };
  }
  const problem = job.problem;
  return { text: problem ? `${problem.title}: ${problem.detail}` : "" };
}

// ---- Writing into the page ---------------------------------------------------------------------------------------------------------

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function announce(text) {
  at("announcer").textContent = text;
}

function serverState(kind, state) {
  put(at("server-state"), state);
  put(at("server-version"), known.version ? `version ${known.version}` : "");
  at("server-state").parentElement.className = `verdict ${kind}`;
}

/** Lines of a cell; what is not known has none. */
function lines(cell, texts) {
  const present = texts.filter(Boolean);
  while (cell.childElementCount > present.length) cell.lastElementChild.remove();
  while (cell.childElementCount < present.length) cell.append(make("span", { class: "line" }));
  present.forEach((text, index) => put(cell.children[index], text));
  cell.classList.toggle("empty", present.length === 0);
}

function when(time, since1970) {
  const date = new Date(1000 * since1970);
  time.setAttribute("datetime", date.toISOString());
  put(time, moment(date));
}

function newJobRow(id) {
  const name = make("span");
  const what = make("span", { class: "sub" });
  const made = make("time");
  const kept = make("time");
  const keptLine = make("span", { class: "sub" }, "kept until ", kept);
  const state = make("span", { class: "state" });
  const bar = make("progress", { max: "1" });
  const detail = make("span", { class: "sub detail" });
  const times = make("td", { role: "cell", "data-name": "Times" });
  const sizes = make("td", { role: "cell", "data-name": "Sizes" });
  const button = make("button", { type: "button" });
  const row = make(
    "tr",
    { role: "row" },
    make("th", { role: "rowheader", scope: "row" }, name, what, make("span", { class: "sub" }, "made ", made), keptLine),
    make("td", { role: "cell" }, state, bar, detail),
    times,
    sizes,
    make("td", { role: "cell" }, button),
  );
  put(name, id);
  button.addEventListener("click", () => confirmAction(row.job));
  return Object.assign(row, { parts: { what, made, kept, keptLine, state, bar, detail, times, sizes, button } });
}

function showJob(row, job) {
  row.job = job;
  const { what, made, kept, keptLine, state, bar, detail, times, sizes, button } = row.parts;
  const over = FINAL.includes(job.state);
  row.className = job.state;
  put(what, `${job.model}, ${plural(job.images, "image", "images")}`);
  when(made, job.created);
  when(kept, job.expires);
  keptLine.hidden = job.state === "queued" || job.state === "running";
  put(state, stateText(job));

  const { share, text } = progressOf(job);
  bar.hidden = share === undefined;
  bar.setAttribute("aria-label", `${job.state === "uploading" ? "Upload" : "Evaluation"} of ${job.id}`);
  if (share === null) bar.removeAttribute("value");
  else if (share !== undefined) bar.value = share;
  detail.hidden = text === "";
  put(detail, text);

  const evaluated = job.evaluated_seconds;
  lines(times, [
    job.waited_seconds === undefined ? "" : `waited ${seconds(job.waited_seconds)}`,
    evaluated === undefined ? "" : `evaluated ${seconds(evaluated)}${over ? "" : " so far"}`,
    evaluated === undefined || job.state !== "done" ? "" : `${seconds(evaluated / job.images)} an image`,
  ]);
  lines(sizes, [`request ${bytes(job.bytes)}`, job.reply_bytes === undefined ? "" : `reply ${bytes(job.reply_bytes)}`]);
  put(button, over ? "Delete" : "Cancel");
  button.setAttribute("aria-label", `${over ? "Delete" : "Cancel"} ${job.id}`);
}

/** Rows stay the same elements as long as their job is there, so that the keyboard's place is not lost. */
function showJobs(jobs) {
  const body = at("job-rows");
  const rows = new Map(Array.from(body.children, (row) => [row.job.id, row]));
  const over = jobs.filter((job) => FINAL.includes(job.state));
  const hidden = new Set(known.all ? [] : over.slice(SHOWN).map((job) => job.id));
  const shown = jobs.filter((job) => !hidden.has(job.id));
  const present = new Set(shown.map((job) => job.id));
  for (const [id, row] of rows) {
    if (present.has(id)) continue;
    if (row.contains(document.activeElement)) at("jobs-title").focus();
    row.remove();
  }
  shown.forEach((job, index) => {
    const row = rows.get(job.id) ?? newJobRow(job.id);
    showJob(row, job);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  at("jobs").hidden = jobs.length === 0;
  at("no-jobs").hidden = jobs.length > 0;
  at("more-jobs").hidden = hidden.size === 0;
  put(at("more-jobs"), `Show ${count(hidden.size)} more`);

  const states = new Map(jobs.map((job) => [job.id, job.state]));
  if (known.states) {
    const changed = jobs.filter((job) => known.states.get(job.id) !== job.state);
    if (changed.length > 3) announce(`${count(changed.length)} jobs have changed`);
    else if (changed.length > 0) announce(changed.map((job) => `${job.id}: ${job.state}`).join(". "));
  }
  known.states = states;
  const open = jobs.length - over.length;
  document.title = `${open > 0 ? `${count(open)} open – ` : ""}Sordino: status`;
}

function showModels(models) {
  const cell = (name, text, kind = "") => make("td", { role: "cell", "data-name": name, class: kind }, text);
  at("model-rows").replaceChildren(
    ...models.map((model) =>
      make(
        "tr",
        { role: "row" },
        make("th", { role: "rowheader", scope: "row" }, model.name),
        cell("Network", model.network),
        cell("Data set", model.dataset),
        cell("Images a request", `up to ${count(model.batch)}`, "number"),
        cell("Security", `${model.security_bits} bits`, "number"),
        cell("Memory", bytes(model.memory_bytes), "number"),
        cell("Scratch", model.scratch_bytes > 0 ? bytes(model.scratch_bytes) : "none", "number"),
        cell("Evaluation key", model.needs_key ? "needed" : "not needed"),
      ),
    ),
  );
  at("models").hidden = models.length === 0;
  at("no-models").hidden = models.length > 0;
}

function showAccount(account, queue) {
  put(at("account-title"), `Account ${account.client}`);
  put(at("open-jobs"), count(account.open_jobs));
  put(at("open-jobs-limit"), `of ${count(account.open_jobs_limit)} at most`);
  put(at("stored"), bytes(account.stored_bytes));
  const share = account.stored_bytes / Math.max(1, account.stored_bytes_limit);
  put(at("stored-limit"), `${percent(share)} of ${bytes(account.stored_bytes_limit)}: keys, requests, replies`);
  Object.assign(at("stored-meter"), { high: 0.9, value: Math.min(1, share) });
  put(at("running"), count(queue.running));
  put(at("running-limit"), `${count(queue.at_once)} at once, at most`);
  put(at("waiting"), count(queue.waiting));
}

// ---- Asking the server ---------------------------------------------------------------------------------------------------------------

/** An answer that is not what was asked for; `status` is 0 where none came. */
class Refusal extends Error {
  constructor(status, message, wait = 0) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

async function ask(path, method = "GET", accept = []) {
  const headers = { Accept: "application/json" };
  if (known.token !== null && path.startsWith("v1/")) headers.Authorization = `Bearer ${known.token}`;
  let answer;
  let body;
  try {
    answer = await fetch(path, {
      method,
      headers,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    body = await answer.text();
  } catch (error) {
    throw new Refusal(0, error.name === "TimeoutError" ? `Nothing came within ${PATIENCE_MS / 1000} s.` : "It cannot be reached.");
  }
  let content = null;
  try {
    content = body === "" ? null : JSON.parse(body);
  } catch {
    // A proxy's page: the status says enough.
  }
  if (answer.ok || accept.includes(answer.status)) {
    if (content === null && answer.status === 200) throw new Refusal(0, "What answers is not Sordino.");
    return content;
  }
  const wait = 1000 * (Number(answer.headers.get("retry-after")) || 0);
  throw new Refusal(answer.status, content?.title ? `${content.title}: ${content.detail} (${answer.status})` : `It says ${answer.status}.`, wait);
}

/** One round: everything that may have changed. Returns when to ask again. */
async function round(session) {
  const ready = await ask("ready", "GET", [503]);
  if (!ready?.version) throw new Refusal(0, "Something in front of it answers in its place.");
  // After an upgrade the models may be others.
  if (ready.version !== known.version) known.models = null;
  known.version = ready.version;
  let wait = IDLE_MS;
  if (known.token !== null) {
    const [jobs, queue, account, models] = await Promise.all([ask("v1/jobs"), ask("v1/queue"), ask("v1/account"), known.models ?? ask("v1/models")]);
    if (session !== known.session) return null;
    if (known.models !== models) showModels(models.models);
    known.models = models;
    showAccount(account, queue);
    showJobs(jobs.jobs);
    // A list of thousands is not sent every other second.
    wait = (account.open_jobs > 0 ? BUSY_MS : IDLE_MS) * (1 + jobs.jobs.length / 500);
    at("status").hidden = false;
  }
  if (ready.status === "ok") serverState("good", "Ready");
  else serverState("bad", "Stopping, takes no new work");
  return Math.min(LONGEST_MS, wait);
}

function away(error, wait) {
  const since = known.answered ? `What is shown is of ${clock(known.answered)}.` : "";
  const silent = !error.status;
  const what = silent ? "The server does not answer." : "The server answers with an error.";
  put(at("away-what"), what);
  put(at("away-why"), error instanceof Refusal ? error.message : "Its answer is not understood.");
  put(at("away-next"), `${since} It is asked again at ${clock(new Date(Date.now() + wait))}.`);
  if (known.failures === 1) announce(`${what} It is asked again by itself.`);
  at("away").hidden = false;
  serverState("bad", silent ? "No answer" : "Error");
}

function back() {
  if (known.failures > 0) announce("The server answers again.");
  if (at("away").contains(document.activeElement)) at(known.token === null ? "entry-title" : "account-title").focus();
  at("away").hidden = true;
  Object.assign(known, { failures: 0, answered: new Date() });
}

/** Asks now, and from then on at the right times, as long as somebody looks. */
async function keepAsking() {
  clearTimeout(timer);
  again = asking;
  if (asking) return;
  asking = true;
  const session = known.session;
  let wait = IDLE_MS;
  try {
    wait = await round(session);
    back();
  } catch (error) {
    if (session !== known.session) {
      again = true;
    } else if (error.status === 401) {
      back();
      forget("The server does not know this token any more.");
    } else {
      if (!(error instanceof Refusal)) console.error(error);
      known.failures += 1;
      wait = Math.min(LONGEST_MS, BUSY_MS * 2 ** (known.failures - 1));
      wait = Math.max(wait, Math.min(error.wait || 0, 2 * LONGEST_MS));
      away(error, wait);
    }
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(keepAsking, again ? 0 : wait);
}

// ---- The token -------------------------------------------------------------------------------------------------------------------------

function remember(token, keep) {
  try {
    if (keep) sessionStorage.setItem(STORAGE, token);
    else sessionStorage.removeItem(STORAGE);
  } catch {
    // Storage is switched off: then it is in memory only.
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(STORAGE);
  } catch {
    return null;
  }
}

function entryError(text, wrong = text !== "") {
  put(at("entry-error"), text);
  at("entry-error").hidden = text === "";
  if (wrong) at("token").setAttribute("aria-invalid", "true");
  else at("token").removeAttribute("aria-invalid");
}

function forget(why = "") {
  remember("", false);
  Object.assign(known, { token: null, session: known.session + 1, models: null, states: null, all: false });
  if (at("confirm").open) at("confirm").close();
  announce("");
  at("job-rows").replaceChildren();
  at("model-rows").replaceChildren();
  at("status").hidden = true;
  at("entry").hidden = false;
  document.title = "Sordino: status";
  entryError(why);
  at(why ? "token" : "entry-title").focus();
}

async function enter(event) {
  event.preventDefault();
  const token = at("token").value.trim();
  // What a header cannot carry, no server has given out.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    entryError("A token has letters, digits and signs, and no spaces inside.");
    at("token").focus();
    return;
  }
  at("entry-submit").disabled = true;
  entryError("");
  known.token = token;
  try {
    await ask("v1/account");
  } catch (error) {
    known.token = null;
    const unknown = error.status === 401;
    entryError(unknown ? "The server does not know this token." : error.message, unknown);
    at("token").focus();
    return;
  } finally {
    at("entry-submit").disabled = false;
  }
  remember(token, at("keep").checked);
  known.session += 1;
  at("token").value = "";
  at("entry").hidden = true;
  at("status").hidden = false;
  at("account-title").focus();
  keepAsking();
}

// ---- Cancel and delete -------------------------------------------------------------------------------------------------------------------

/** What the open dialog is about. */
let asked = null;

function confirmAction(job) {
  const over = FINAL.includes(job.state);
  asked = { id: job.id, over };
  put(at("confirm-title"), `${over ? "Delete" : "Cancel"} ${job.id}?`);
  put(
    at("confirm-text"),
    job.state === "done"
      ? "It is removed from the server with its reply. A reply that nobody has fetched is lost."
      : over
        ? "What is left of the job is removed from the server."
        : "It is not evaluated any further, and there will be no reply. The job stays in the list until it is deleted.",
  );
  put(at("confirm-no"), over ? "Keep it" : "Let it go on");
  put(at("confirm-yes"), over ? "Delete the job" : "Cancel the job");
  at("confirm-error").hidden = true;
  at("confirm").showModal();
}

async function act() {
  const { id, over } = asked;
  const path = `v1/jobs/${encodeURIComponent(id)}`;
  at("confirm-yes").disabled = true;
  try {
    if (over) await ask(path, "DELETE", [404]);
    else await ask(`${path}/cancel`, "POST");
  } catch (error) {
    at("confirm-error").hidden = false;
    put(at("confirm-error"), error.message);
    return;
  } finally {
    at("confirm-yes").disabled = false;
  }
  at("confirm").close();
  if (over) announce(`${id}: deleted`);
  keepAsking();
}

// ---- Start -------------------------------------------------------------------------------------------------------------------------------

at("entry-form").addEventListener("submit", enter);
at("leave").addEventListener("click", () => forget());
at("away-retry").addEventListener("click", keepAsking);
at("more-jobs").addEventListener("click", () => {
  known.all = true;
  at("jobs-title").focus();
  keepAsking();
});
at("confirm-no").addEventListener("click", () => at("confirm").close());
at("confirm-yes").addEventListener("click", act);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : keepAsking()));

known.token = remembered();
at("keep").checked = known.token !== null;
at("entry").hidden = known.token !== null;
keepAsking();
