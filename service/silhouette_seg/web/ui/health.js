import { isReady } from "../api/client.js";

const RETRY_MS = 3000;

/**
 * Shows "Ready" or "Not ready" in `element`, as `/readyz` answers. Until the service is ready, it
 * asks again every `RETRY_MS` milliseconds.
 */
export async function showHealth(element) {
  const ready = await isReady();
  element.dataset.health = ready ? "ready" : "waiting";
  element.textContent = ready ? "Ready" : "Not ready";
  if (!ready) setTimeout(showHealth, RETRY_MS, element);
}
