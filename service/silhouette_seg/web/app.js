/** Entry point of the page: connects the tabs, the API key and the list of models. */

import { fetchCapabilities, fetchModels } from "./api/client.js";
import { showTransports } from "./live/live-options.js";
import { liveTab } from "./live/live-tab.js";
import { photoTab } from "./photo/photo-tab.js";
import { showModels } from "./ui/controls.js";
import { watchHealth } from "./ui/health.js";
import { keyForm } from "./ui/key-form.js";
import { tabList } from "./ui/tabs.js";

const byId = (id) => document.getElementById(id);
const key = keyForm({ form: byId("key-form"), input: byId("key"), hint: byId("key-hint") });

async function loadChoices() {
  try {
    const { auto, models, failed } = await fetchModels(key.value);
    const { streams } = await fetchCapabilities(key.value);
    showModels(byId("options"), { auto, models, failed });
    showModels(byId("live-options"), { models, failed });
    showTransports(byId("live-options"), byId("transport-note"), streams);
  } catch (error) {
    if (error.status === 401) key.prompt();
    // After any other error "Automatic" stays the only choice; the next photo reports the error.
  }
}

const live = liveTab(key);
const tabs = tabList(byId("tabs"), (name) => { if (name !== "live") live.leave(); });
photoTab(key, () => tabs.select("photo"));
key.onSubmit(loadChoices);
loadChoices();
watchHealth(byId("health"));
