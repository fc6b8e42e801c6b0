// The operator's page: the door with its token, behind which the desk is.

import { $ } from "../dom.js";
import { Api } from "./api.js";
import { Desk } from "./desk.js";

let open;

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("enter").disabled = true;
  await signIn($("token").value.trim());
  $("enter").disabled = false;
});
$("sign-out").addEventListener("click", () => signOut(""));

async function signIn(token) {
  // What no header takes is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) return signOut(WORDS.unauthenticated);
  const api = new Api(token);
  try {
    await api.get("/rooms", { limit: 1 });
  } catch (error) {
    signOut(inWords(error));
    // Nobody has refused it: the next reload tries it again.
    if (error.status === 0 || error.status >= 500) sessionStorage.setItem(TOKEN, token);
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  $("token").value = "";
  showDoor(false);
  open = api;
  new Desk(api, (error) => signOut(inWords(error))).begin();
}

function signOut(why) {
  sessionStorage.removeItem(TOKEN);
  open?.close();
  open = undefined;
  showDoor(true);
  $("door-problem").textContent = why;
  $("door-problem").hidden = !why;
  $("token").focus();
}

function showDoor(shown) {
  $("door").hidden = !shown;
  $("desk").hidden = shown;
}

function inWords({ code, message }) {
  return WORDS[code] ?? message;
}

const WORDS = {
  unauthenticated: "The node does not accept this token.",
  "token-expired": "The token has expired: make a new one.",
  forbidden: "This token has no admin grant.",
  unreachable: "The node cannot be reached.",
};
/** Kept for this tab only, so that a reload asks for it no more; another tab asks. */
const TOKEN = "lockgate-operator-token";

const kept = sessionStorage.getItem(TOKEN);
if (kept) signIn(kept);
