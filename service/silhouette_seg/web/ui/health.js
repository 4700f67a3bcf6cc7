import { isReady } from "../api/client.js";

const RETRY_MS = 3000;

/** Shows whether the service accepts requests, and polls until it does. */
export async function showHealth(element) {
  const ready = await isReady();
  element.dataset.health = ready ? "ready" : "waiting";
  element.textContent = ready ? "Ready" : "Not ready";
  if (!ready) setTimeout(showHealth, RETRY_MS, element);
}
