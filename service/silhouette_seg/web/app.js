/** Entry point of the page: connects the tabs, the API key and the list of models. */

import { fetchCapabilities, fetchFile, fetchModels } from "./api/client.js";
import { photoTab } from "./photo/photo-tab.js";
import { showModels } from "./ui/controls.js";
import { watchHealth } from "./ui/health.js";
import { keyForm } from "./ui/key-form.js";
import { asProblem } from "./ui/problem-card.js";
import { tabList } from "./ui/tabs.js";

const byId = (id) => document.getElementById(id);
const key = keyForm({ form: byId("key-form"), input: byId("key"), hint: byId("key-hint") });

let choices = null; // models and transports of the server, once they have arrived
let live = null; // a promise of the live tab, once it was selected

async function loadChoices() {
  try {
    const { auto, models, failed } = await fetchModels(key.value);
    const { streams } = await fetchCapabilities(key.value);
    choices = { auto, models, failed, streams };
    showModels(byId("options"), choices);
    (await live)?.showChoices(choices);
  } catch (error) {
    if (error.status === 401) key.prompt();
    // After any other error "Automatic" stays the only choice; the next photo reports the error.
  }
}

/** Loads the live tab when it is first selected: its controls and ten scripts are not needed before. */
async function loadLiveTab() {
  const view = byId("live-view");
  view.inert = true; // until its buttons work
  try {
    view.innerHTML = await (await fetchFile("web/live/live-view.html")).text();
    const { liveTab } = await import("./live/live-tab.js"); // its elements have to be there
    const tab = liveTab(key);
    if (choices) tab.showChoices(choices);
    return tab;
  } catch (error) {
    live = null; // the next selection tries again
    view.textContent = asProblem(error).title;
    return null;
  } finally {
    view.inert = false;
  }
}

async function handleTab(name) {
  if (name === "live") live ??= loadLiveTab();
  else (await live)?.leave();
}

const tabs = tabList(byId("tabs"), handleTab);
photoTab(key, () => tabs.select("photo"));
key.onSubmit(loadChoices);
loadChoices();
watchHealth(byId("health"));
