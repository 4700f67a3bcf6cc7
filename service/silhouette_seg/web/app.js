import { fetchModels } from "./api.js";
import { showModels } from "./controls.js";
import { watchHealth } from "./health.js";
import { keyForm } from "./key.js";
import { liveTab } from "./live.js";
import { photoTab } from "./photo.js";
import { watchTabs } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const key = keyForm({ form: byId("key-form"), input: byId("key"), hint: byId("key-hint") });

async function loadModels() {
  try {
    const { auto, models } = await fetchModels(key.value);
    showModels(byId("options"), { auto, models });
    showModels(byId("live-options"), { models });
  } catch (error) {
    if (error.status === 401) key.ask();
    // Anything else: "Automatic" stays the only choice, and sending a photo will say why.
  }
}

const live = liveTab(key);
const tabs = watchTabs(byId("tabs"), (name) => { if (name !== "live") live.leave(); });
photoTab(key, () => tabs.show("photo"));
key.onOffered(loadModels);
loadModels();
watchHealth(byId("health"));
