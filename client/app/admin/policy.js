// What plugins decide, and how they do.

import { $, make } from "../dom.js";
import { log, say, showEach } from "./lists.js";
import { clock, count, many, microseconds } from "../units.js";

export class PolicyPane {
  #api;
  #after;

  constructor(api) {
    this.#api = api;
    $("decisions-of").onchange = () => filter();
    filter();
  }

  /** Shows what was decided since the last look. Looking has the node keep it. */
  async look() {
    const { decisions, next, missed } = await this.#api.get("/decisions", { after: this.#after, limit: MOST });
    this.#after = next;
    if (missed) log($("decisions"), make("li", { className: "quiet", text: `${many(missed, "decision")} more, which are not shown` }));
    for (const decision of decisions) log($("decisions"), entry(decision));
    filter();
  }

  showPlugins({ plugins, overloaded, epoch, canaryEpoch }, decisionLog) {
    const facts = [`Configuration ${epoch}`, canaryEpoch && `configuration ${canaryEpoch} is being tried`, overloaded && `${many(overloaded, "question")} denied unasked, as too many waited`, decisionLog && inWords(decisionLog)];
    say($("policy-facts"), facts.filter(Boolean).join(", "));
    showEach($("plugins"), plugins, ({ plugin }) => plugin, ({ plugin }) => {
      const [health, facts, hooks] = [make("span", { className: "badge" }), make("span", { className: "quiet" }), make("ul", { className: "hooks" })];
      const element = make("li", {}, make("div", { className: "plugin-head" }, make("b", { text: plugin }), health), facts, hooks);
      return [element, (one) => {
        const [state, words] = healthOf(one);
        health.className = `badge ${state}`;
        say(health, words);
        say(facts, costs(one));
        showEach(hooks, one.hooks, ({ hook }) => hook, hookLine);
      }];
    });
  }
}

function healthOf({ hooks, failures }) {
  const paused = hooks.filter((hook) => hook.paused).map(({ hook }) => hook);
  if (paused.length) return ["bad", `paused: ${paused.join(", ")}`];
  const failed = failures.reduce((sum, { count }) => sum + count, 0);
  if (failed) return ["warn", `failed ${many(failed, "time")}: ${failures.map(({ cause }) => cause).join(", ")}`];
  return hooks.some(({ calls }) => calls) ? ["good", "answers"] : ["", "was not asked yet"];
}

function inWords({ lines, lost, works }) {
  return `${many(lines, "line")} in the decision log${lost ? `, ${count(lost)} lost` : ""}${works ? "" : ", which cannot be written now"}`;
}

function costs({ instancesKept, memoryPeakBytes, lastKnown, shadow }) {
  const parts = [`${many(instancesKept, "instance")} of up to ${(memoryPeakBytes / (1 << 20)).toFixed(1)} MiB`, lastKnown && `${many(lastKnown, "last answer")} stood in`, shadow && "in shadow: its answers do not count"];
  return parts.filter(Boolean).join(", ");
}

function hookLine({ hook }) {
  const [numbers, bar, took] = [make("span", { className: "quiet" }), make("span", { className: "verdicts", aria: { hidden: "true" } }, make("i"), make("i"), make("i")), make("b")];
  const element = make("li", {}, make("span", { text: hook }), bar, took, numbers);
  return [element, ({ calls, allowed, denied, abstained, failed, meanUs }) => {
    const shares = [allowed, denied + failed, abstained];
    const all = shares.reduce((sum, one) => sum + one, 0);
    [...bar.children].forEach((part, place) => part.style.setProperty("flex-grow", all ? shares[place] / all : 0));
    say(took, calls ? microseconds(meanUs) : "–");
    const parts = [`${count(allowed)} allowed`, `${count(denied)} denied`, abstained && `${count(abstained)} left to others`, failed && `${count(failed)} failed`];
    say(numbers, parts.filter(Boolean).join(", "));
  }];
}

/** A line about a decision: who, what, and why. */
function entry({ timeMs, hook, roomName, username, subject, act, asked, denied, denial, plugins, host, us }) {
  const refused = denied > 0;
  const verdict = !refused ? "allowed" : denied < asked ? `${denied} of ${asked} refused` : "refused";
  const who = username ?? (subject === undefined ? "somebody" : `subject ${subject}`);
  const what = WORDS[hook] + (act ? ` ${act}` : "") + (asked > 1 ? ` ${asked} tracks` : "");
  const head = make("div", { className: "log-head" }, make("time", { text: clock(timeMs) }), make("span", { className: `badge ${refused ? "bad" : "good"}`, text: verdict }), make("b", { text: who }), make("span", { text: what }), roomName === undefined ? "" : make("span", { className: "quiet", text: `in ${roomName}` }));
  const why = make("div", { className: "quiet", text: reasons({ denial, plugins, host, us }) });
  return make("li", { data: { refused } }, head, why);
}

function reasons({ denial, plugins, host, us }) {
  const said = plugins.map(({ plugin, said, failed }) => `${plugin} ${failed ? `failed (${failed})` : SAID[said]}`);
  const parts = [denial && `“${denial.message}”`, host ? HOST[host] : said.join(", ") || "no plugin is asked", microseconds(us)];
  return parts.filter(Boolean).join(" · ");
}

function filter() {
  const only = $("decisions-of").value === "denied";
  for (const item of $("decisions").children) item.hidden = only && item.dataset.refused !== "true";
  $("no-decisions").hidden = [...$("decisions").children].some(({ hidden }) => !hidden);
}

/** Decisions that are shown of one look. */
const MOST = 200;
const WORDS = { auth: "shows a token", admission: "enters", publishing: "publishes", subscription: "receives", recording: "is recorded", command: "acts:" };
const SAID = { allow: "allowed it", deny: "refused it", abstain: "left it to others", mixed: "allowed some of it" };
const HOST = { overloaded: "no plugin was asked: too many questions waited", late: "no plugin was asked: its turn did not come in time", failed: "no plugin was asked: the host failed" };
