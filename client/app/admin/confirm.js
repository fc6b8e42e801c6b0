// Nothing is done to people by a slip of the hand: what an act means is said, and asked for.

import { $ } from "../dom.js";

/**
 * Asks whether to do something. `text` says what it means, `act` is on the button; `field` (`{ label, value }`) asks for a text with it.
 * Resolves to that text (empty without one), or to `undefined` if it is not to be done.
 */
export function confirm({ title, text, act, field, harmless = false }) {
  const [dialog, value] = [$("confirm"), $("confirm-value")];
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = act;
  $("confirm-yes").className = harmless ? "primary" : "danger";
  $("confirm-field").hidden = !field;
  $("confirm-field").querySelector("span").textContent = field?.label ?? "";
  value.value = field?.value ?? "";
  dialog.returnValue = "no";
  dialog.showModal();
  (field ? value : $("confirm-no")).focus();
  return new Promise((resolve) => {
    const done = () => resolve(dialog.returnValue === "yes" ? value.value.trim() : undefined);
    dialog.addEventListener("close", done, { once: true });
  });
}

// In a form, Enter presses its first button: in the field that is to be the one that does it.
$("confirm-value").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  $("confirm-yes").click();
});
