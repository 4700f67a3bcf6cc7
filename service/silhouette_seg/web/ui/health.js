/** The note in the header that says whether the service accepts requests. */

import { fetchHealth } from "../api/client.js";

/** Milliseconds between two checks of a service that is ready, and of one that is not. */
const INTERVALS_MS = { ready: 10_000, waiting: 3000, unreachable: 3000 };
const LABELS = { ready: "Ready", waiting: "Not ready", unreachable: "Not reachable" };

/**
 * Shows the health of the service in `element`, as long as the page is open. A page in the
 * background checks nothing; it checks at once when it is visible again.
 */
export function watchHealth(element) {
  let timer = 0;
  const check = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    const health = await fetchHealth();
    element.dataset.health = health;
    element.textContent = LABELS[health];
    clearTimeout(timer); // of a check that ran at the same time
    timer = setTimeout(check, INTERVALS_MS[health]);
  };
  document.addEventListener("visibilitychange", check);
  addEventListener("online", check);
  addEventListener("offline", check);
  check();
}
