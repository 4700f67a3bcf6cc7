import { isReady } from "./api.js";

const RETRY_MS = 3000;

/** Says whether the service takes work, and asks again until it does. */
export async function watchHealth(element) {
  const ready = await isReady();
  element.dataset.health = ready ? "ready" : "waiting";
  element.textContent = ready ? "Ready" : "Not ready";
  if (!ready) setTimeout(watchHealth, RETRY_MS, element);
}
