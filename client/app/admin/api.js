// The operator's interface, `/admin/v1`, as docs/operating.md has it. The token goes in a header, and nowhere else.

import { Lines } from "./stream.js";

/** A request that was refused, or not answered; `code` is for programs and stable. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { name: "Refused", status, code });
  }
}

export class Api {
  #token;
  #over = new AbortController();

  constructor(token) {
    this.#token = token;
  }

  /** Whether nothing is to be asked any more. */
  get isClosed() {
    return this.#over.signal.aborted;
  }

  /** Ends all that is under way. */
  close() {
    this.#over.abort();
  }

  get(path, query = {}) {
    return this.#ask("GET", path, query);
  }

  post(path, body) {
    return this.#ask("POST", path, {}, body);
  }

  delete(path, query = {}) {
    return this.#ask("DELETE", path, query);
  }

  /**
   * Follows what happens until this is closed or refused; comes back when the connection is lost, and goes on where it was.
   * `on` takes each event, `onState` whether there is a connection, and why there will be none any more.
   */
  async follow(on, onState) {
    let after;
    let wait = RETRY;
    while (!this.isClosed) {
      try {
        const { body } = await this.#send("GET", "/events", { after });
        onState(true);
        wait = RETRY;
        await readEvents(body, (id, data) => {
          after = id ?? after;
          if (data) on(JSON.parse(data));
        });
      } catch (error) {
        if (REFUSALS.has(error.status)) return onState(false, error);
      }
      if (!this.isClosed) onState(false);
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, LONGEST_RETRY);
    }
  }

  async #ask(method, path, query, body) {
    return (await this.#send(method, path, query, body)).json();
  }

  async #send(method, path, query, body) {
    const headers = { authorization: `Bearer ${this.#token}` };
    const url = new URL(`/admin/v1${path}`, location.origin);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { signal } = this.#over;
    const answer = await fetch(url, { method, headers, body: text, signal, cache: "no-store" }).catch((error) => {
      throw new Refused(0, "unreachable", error.message);
    });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    const said = problem.detail ?? problem.problems?.join("\n") ?? `The node answered with status ${answer.status}.`;
    throw new Refused(answer.status, problem.code ?? "internal", said);
  }
}

async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = new Lines();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    for (const { id, data } of lines.take(value)) take(id, data);
  }
}

/** A part of a path, whatever is in it. */
export const part = encodeURIComponent;

/** In milliseconds. */
const RETRY = 500;
const LONGEST_RETRY = 15_000;
/** Coming again does not help. */
const REFUSALS = new Set([400, 401, 403, 404]);
