// Server-sent events out of the text of a connection (WHATWG HTML §9.2.6), as `EventSource` would read them: it cannot send a token.

export class Lines {
  #rest = "";
  #data = [];
  #id;

  /** Takes the next piece of text, wherever it was cut. Returns the events that it completes: `{ id, data }`; `data` may be empty. */
  take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#line(line)).filter(Boolean);
  }

  #line(line) {
    if (line === "") {
      const event = { id: this.#id, data: this.#data.join("\n") };
      this.#data = [];
      return event;
    }
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.#data.push(value ?? "");
    if (name === "id" && !value?.includes("\0")) this.#id = value;
    return undefined;
  }
}
