// Asks for a job, follows it, and shows it; the job's id is in the address, so that a page that is loaded again goes on.
"use strict";

const PAUSE = 1000; // milliseconds between two looks at a job
const PAGE = 60; // molecules of one answer
const ENDED = ["done", "failed", "cancelled"];

// The answer to a request: its value, or the sentence why there is none.
async function asked(path, { method = "GET", body, headers = {} } = {}) {
  try {
    const json = body && { "Content-Type": "application/json" };
    const answer = await fetch(path, { method, headers: { ...json, ...headers }, body: body && JSON.stringify(body) });
    const value = await answer.json();
    if (answer.ok) return { ok: true, value };
    const { detail } = value;
    const mistakes = Array.isArray(detail) && detail.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`).join(" ");
    return { ok: false, status: answer.status, sentence: mistakes || detail };
  } catch {
    return { ok: false, status: 0, sentence: "The service does not answer." };
  }
}

const later = () => new Promise((go) => setTimeout(go, PAUSE));

class Page {
  constructor(model) {
    this.form = new Form(model);
    this.gallery = new Gallery(model);
    byId("wish").addEventListener("submit", (event) => { event.preventDefault(); this.begin(); });
    byId("estimate").onclick = () => this.estimate();
    byId("cancel").onclick = () => asked(`v1/jobs/${this.job}`, { method: "DELETE" });
    window.addEventListener("hashchange", () => this.fromAddress());
    this.fromAddress();
  }

  fromAddress() {
    const job = new URLSearchParams(location.hash.slice(1)).get("job");
    if (job && job !== this.job) this.follow(job, true);
  }

  complain(sentence) {
    byId("problem").textContent = sentence;
    byId("problem").hidden = !sentence;
  }

  async begin() {
    this.complain("");
    byId("make").disabled = true;
    const headers = { "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-") };
    const answer = await asked("v1/jobs", { method: "POST", body: this.form.body, headers });
    byId("make").disabled = false;
    if (!answer.ok) return this.complain(answer.sentence);
    location.hash = `job=${answer.value.id}`;
    return this.follow(answer.value.id);
  }

  async estimate() {
    this.complain("");
    byId("estimate").disabled = true;
    byId("state").hidden = false;
    byId("told").textContent = "Making a few molecules to measure it …";
    const { ok, value, sentence } = await asked("v1/estimate", { method: "POST", body: this.form.body });
    byId("estimate").disabled = false;
    byId("told").textContent = ok
      ? `About ${value.molecules.toLocaleString()} molecules, ${Math.round(value.network_calls).toLocaleString()} network calls, `
        + `${Math.ceil(value.seconds).toLocaleString()} seconds on this service when nothing else is done.`
      : "";
    if (!ok) this.complain(sentence);
  }

  async follow(job, restore = false) {
    this.job = job;
    let cursor = null, first = true;
    while (this.job === job) {
      const answer = await asked(`v1/jobs/${job}`);
      if (!answer.ok && answer.status && answer.status < 500) return this.complain(answer.sentence);
      if (answer.ok) {
        if (first) {
          if (restore) this.form.restore(answer.value.request);
          this.gallery.clear(answer.value.request);
          first = false;
        }
        this.show(answer.value);
        const query = new URLSearchParams({ limit: PAGE, format: "json", ...(cursor && { cursor }) });
        const page = await asked(`v1/jobs/${job}/molecules?${query}`);
        if (page.ok && this.job === job) {
          this.complain("");
          this.gallery.add(page.value.molecules);
          if (page.value.next === null) return undefined;
          cursor = page.value.next;
          if (page.value.molecules.length === PAGE) continue;
        }
        if (ENDED.includes(answer.value.state) && !page.ok) return this.complain(page.sentence);
      }
      if (!answer.ok) this.complain(`${answer.sentence} It is asked again.`);
      await later();
    }
    return undefined;
  }

  show({ state, progress, request, problem }) {
    byId("state").hidden = false;
    byId("cancel").hidden = ENDED.includes(state);
    const wanted = request.until ?? progress.max_attempts;
    const done = request.until ? progress.delivered : progress.attempts;
    Object.assign(byId("bar"), wanted ? { max: wanted, value: done } : {});
    const left = progress.seconds_left === null ? "" : `, about ${Math.ceil(progress.seconds_left)} s left`;
    const said = { queued: "Waiting for its turn", running: "Making molecules", done: "Done", cancelled: "Cancelled", failed: "Failed" };
    byId("told").textContent = `${said[state]}: ${progress.delivered} delivered of ${progress.attempts} attempts${left}.`;
    if (problem) this.complain(problem);
    this.refusals(progress.ledger);
  }

  refusals(ledger) {
    const refused = Object.entries(ledger?.refused ?? {}).filter(([, count]) => count);
    const reasons = refused.sort(([, one], [, other]) => other - one);
    byId("refusals").hidden = !reasons.length;
    const all = reasons.reduce((sum, [, count]) => sum + count, 0);
    byId("refusals").querySelector("summary").textContent = `${all} of ${ledger?.attempts ?? 0} attempts were refused`;
    byId("refusals").querySelector("tbody").replaceChildren(...reasons.map(([reason, count]) => {
      const row = document.createElement("tr");
      for (const text of [reason, count]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }));
  }
}

asked("v1/model").then(({ ok, value, sentence }) => {
  if (ok) new Page(value);
  else byId("model").textContent = sentence;
});
