// Lists that change while people look at them: what stays is the same element, with the focus and what was opened in it.

const updates = new WeakMap();

/**
 * Has `parent` show one element for each item, in their order. `keyOf` tells items apart; `build` makes the element of a new one and
 * returns `[element, update]`, where `update(item)` fills it in, now and whenever the item is shown again.
 */
export function showEach(parent, items, keyOf, build) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const children = items.map((item) => {
    const key = String(keyOf(item));
    const child = before.get(key) ?? begin(key, item, build);
    before.delete(key);
    updates.get(child)(item);
    return child;
  });
  for (const gone of before.values()) gone.remove();
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

function begin(key, item, build) {
  const [element, update] = build(item);
  element.dataset.key = key;
  updates.set(element, update);
  return element;
}

/** Sets a text where it is another one: what is being selected or read out stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Puts something on top of a log that has a bound. */
export function log(list, element, most = 200) {
  list.prepend(element);
  while (list.children.length > most) list.lastElementChild.remove();
}
