/** Turns the WebSocket close codes of `/v1/stream` into errors that the page shows. */

import { Problem, unreachable } from "./problem.js";

/** Title of the error for each close code, and true if a retry can succeed. */
const CLOSE_CODES = {
  1000: ["The server ended the stream", true],
  1001: ["The server ended the stream", true],
  1003: ["The server did not understand this page", false],
  1007: ["The server cannot read the camera's frames", false],
  1008: ["The server does not accept streams from this page", false],
  1009: ["An image was larger than the server accepts", false],
  1011: ["The server failed", true],
  1012: ["The server is restarting", true],
  1013: ["The server is at capacity", true],
  4400: ["The server rejected the options", false],
  4401: ["The server requires an API key", false],
  4408: ["This page did not respond to the server in time", true],
  4410: ["The stream was closed because no frames arrived", true],
  4429: ["You have too many live streams", true],
};
const UNAUTHORIZED = 4401;
/** The browser's code for a connection that was lost or never opened. */
const ABNORMAL = 1006;

/**
 * Returns the error to show for the end of a WebSocket stream.
 *
 * @param {{code: number, reason: string}} event  the browser's close event
 * @param {boolean} wasReady  whether the server had accepted the stream
 * @returns {Problem}
 */
export function problemOfClose({ code, reason }, wasReady) {
  if (code === ABNORMAL && !wasReady) return unreachable();
  const [title, retryable] = CLOSE_CODES[code] ?? ["The connection was lost", true];
  return new Problem({ status: code === UNAUTHORIZED ? 401 : 0, title, detail: sentence(reason), retryable });
}

/** Returns a close reason without its code, as a sentence: `idle: no frame` -> `No frame.` */
function sentence(reason) {
  const text = reason.replace(/^[a-z_]+: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) || !text ? "" : ".");
}
