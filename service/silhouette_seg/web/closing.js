import { Problem, unreachable } from "./problem.js";

/** Close codes of `/v1/stream` in words: title, and whether another try may go better. */
const CODES = {
  1000: ["The server ended the stream", true],
  1001: ["The server ended the stream", true],
  1003: ["The server did not understand this page", false],
  1007: ["The server cannot read the camera's frames", false],
  1008: ["The server does not stream to this page", false],
  1009: ["A picture was larger than the server takes", false],
  1011: ["The server failed", true],
  1012: ["The server is restarting", true],
  1013: ["The server is full", true],
  4400: ["The server did not accept the options", false],
  4401: ["The server asks for an API key", false],
  4408: ["The server waited too long for this page", true],
  4410: ["The stream was closed because no frames came", true],
  4429: ["You have too many live streams", true],
};
const UNAUTHORIZED = 4401;

/**
 * Why a WebSocket ended.
 *
 * @param {{code: number, reason: string}} event
 * @param {boolean} wasReady  the server had taken us
 */
export function problemOfClose({ code, reason }, wasReady) {
  if (code === 1006 && !wasReady) return unreachable();
  const [title, retryable] = CODES[code] ?? ["The connection was lost", true];
  return new Problem({
    status: code === UNAUTHORIZED ? 401 : 0,
    title, detail: sentence(reason), retryable,
    requestId: "", code: "",
  });
}

/** `too_many: There are too many.` -> `There are too many.` */
function sentence(reason) {
  const text = reason.replace(/^[a-z_]+: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) || !text ? "" : ".");
}
