// Beside the pictures: what people write, and who is there.

import { $, announce, make, notify } from "./dom.js";
import { explain } from "./words.js";

/** The panel at the side. One of its two pages is open, or none. */
export class Panel {
  #room;
  #mayModerate;
  #unread = 0;
  #open;

  constructor(mayModerate) {
    this.#mayModerate = mayModerate;
    for (const page of PAGES) $(`toggle-${page}`).addEventListener("click", () => this.show(this.#open === page ? undefined : page));
    $("close-panel").addEventListener("click", () => this.show(undefined));
    $("panel").addEventListener("keydown", ({ key }) => key === "Escape" && this.show(undefined));
    $("chat-form").addEventListener("submit", (event) => this.#onSay(event));
  }

  begin(room) {
    this.#room = room;
    room.on("chat", (chat) => this.#onChat(chat));
    const redraw = ["participant-joined", "participant-left", "announced", "muted", "grants", "published", "unpublished"];
    for (const type of redraw) room.on(type, () => this.#showPeople());
    this.#showPeople();
  }

  clear() {
    this.#room = undefined;
    this.#setUnread(0);
    $("chat-list").replaceChildren();
    $("people-list").replaceChildren();
    this.show(undefined);
  }

  show(page) {
    const before = this.#open;
    this.#open = page;
    $("panel").hidden = page === undefined;
    for (const one of PAGES) {
      $(`${one}-page`).hidden = one !== page;
      $(`toggle-${one}`).setAttribute("aria-expanded", one === page);
    }
    if (page) $("panel-title").textContent = page === "chat" ? "Chat" : "People";
    if (page === "chat") {
      this.#setUnread(0);
      $("chat-text").focus();
    }
    if (page === "people") $("close-panel").focus();
    if (!page && before) $(`toggle-${before}`).focus();
  }

  async #onSay(event) {
    event.preventDefault();
    const text = $("chat-text").value.trim();
    if (!text) return;
    try {
      await this.#room.chat(text);
      $("chat-text").value = "";
    } catch (error) {
      notify(explain(error));
    }
  }

  #onChat({ username, text, own, at }) {
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const head = make("p", { className: "said-by" }, make("b", { text: own ? "You" : username }), make("time", { text: time, dateTime: at.toISOString() }));
    const item = make("div", { className: own ? "own" : "" }, head, make("p", { className: "said", text }));
    const list = $("chat-list");
    list.append(item);
    if (list.children.length > MAX_CHATS) list.firstChild.remove();
    list.scrollTop = list.scrollHeight;
    if (own || this.#open === "chat") return;
    this.#setUnread(this.#unread + 1);
    announce(`${username} writes: ${text}`);
  }

  #setUnread(count) {
    this.#unread = count;
    $("unread").hidden = count === 0;
    $("unread").textContent = count > 99 ? "99+" : count;
    $("toggle-chat").setAttribute("aria-label", count ? `Chat, ${count} unread` : "Chat");
  }

  #showPeople() {
    const room = this.#room;
    if (!room) return;
    const own = make("li", {}, make("span", { className: "who", text: `${$("name").value.trim()} (you)` }));
    const others = room.participants.map((participant) => this.#person(participant));
    $("people-list").replaceChildren(own, ...others);
  }

  #person(participant) {
    const { username, announced } = participant;
    const has = announced.filter(({ muted }) => !muted).map(({ source }) => SOURCES[source]).filter(Boolean);
    const about = make("small", { text: has.join(", ") || "only listens" });
    const who = make("span", { className: "who" }, make("span", { text: username }), about);
    const item = make("li", {}, who);
    if (this.#mayModerate()) item.append(...this.#acts(participant));
    return item;
  }

  #acts(participant) {
    const { publisherId, username, announced } = participant;
    const act = (text, label, run) => {
      const button = make("button", { type: "button", className: "small", text, aria: { label } });
      button.addEventListener("click", () => run().catch((error) => notify(explain(error))));
      return button;
    };
    const microphone = announced.find(({ source, muted }) => source === "microphone" && !muted);
    const mute = microphone && act("Mute", `Mute ${username}`, () => this.#room.moderateMute({ publisherId, trackId: microphone.trackId }));
    return [mute, act("Remove", `Remove ${username}`, () => this.#room.kick(participant))].filter(Boolean);
  }
}

const PAGES = ["chat", "people"];
const SOURCES = { camera: "camera", microphone: "microphone", screen: "screen", "screen-audio": undefined, data: undefined };
/** Messages that are kept. */
const MAX_CHATS = 500;
