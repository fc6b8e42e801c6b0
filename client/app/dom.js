// Short ways to the document. What people have typed is text everywhere, never markup.

export const $ = (id) => document.getElementById(id);

/** A new element with properties; `text` is its text, `data` its data attributes, `aria` its ARIA attributes. */
export function make(tag, { text, data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(name === "role" ? name : `aria-${name}`, value);
  element.append(...children);
  return element;
}

/** A new element of SVG with attributes. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An icon of the page's sprite. */
export function icon(name) {
  return draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: `#icon-${name}` }));
}

/** Says something to people, for a while, and once at a time. */
export function notify(text) {
  if ([...$("notices").children].some(({ textContent }) => textContent === text)) return;
  const notice = make("p", { className: "notice", text });
  $("notices").append(notice);
  if ($("notices").children.length > MAX_NOTICES) $("notices").firstChild.remove();
  setTimeout(() => notice.remove(), NOTICE_FOR);
}

/** Says something to screen readers only: what others see happening. */
export function announce(text) {
  $("announcer").textContent = text;
}

const MAX_NOTICES = 4;
/** In milliseconds. */
const NOTICE_FOR = 8000;
