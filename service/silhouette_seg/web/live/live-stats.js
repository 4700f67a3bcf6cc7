/** Formats the statistics of a live stream as rows of text. */

/**
 * Returns the percentile of some values by the nearest rank; `share` is 0..1.
 *
 * @returns {number | null} null without values
 */
export function percentile(values, share) {
  const ranked = [...values].sort((a, b) => a - b);
  return ranked[Math.max(0, Math.ceil(share * ranked.length) - 1)] ?? null;
}

/**
 * Counters of a stream since its start, and recent measurements.
 *
 * @typedef {object} StreamStats
 * @property {number} shown  results shown
 * @property {number[]} roundTripsMs  recent round trips
 * @property {number[]} serverMs  recent times in the server; empty if the transport has none
 * @property {number | null} dropped  camera frames not sent; null if the transport does not count them
 * @property {number} skipped  frames sent without a result
 * @property {number} sentBytes
 * @property {number} receivedBytes
 * @property {{width: number, height: number} | null} sentSize
 * @property {{width: number, height: number} | null} receivedSize
 */

/**
 * Formats the statistics of a stream between two samples of its counters, taken at `atMs`.
 *
 * @param {StreamStats & {atMs: number}} previous
 * @param {StreamStats & {atMs: number}} current
 * @returns {[string, string, string][]} label, value, and a tooltip
 */
export function statsRows(previous, current) {
  const seconds = (current.atMs - previous.atMs) / 1000;
  const rate = (name) => (current[name] - previous[name]) / seconds;
  return [
    ["Frames per second", rate("shown").toFixed(1), "Results shown in the last second"],
    ["Server time", formatTime(percentile(current.serverMs, 0.5)), "Median time in the server, including the wait"],
    ["Round trip p50", formatTime(percentile(current.roundTripsMs, 0.5)), "Median of the latest frames"],
    ["Round trip p95", formatTime(percentile(current.roundTripsMs, 0.95)), "95 % of the latest frames were faster"],
    ["Dropped here", formatCount(current.dropped), "Camera frames not sent, because earlier frames were unanswered"],
    ["Not returned", formatCount(current.skipped), "Frames that the server replaced with a newer one, or that were lost"],
    ["Sent", formatFlow(current.sentSize, rate("sentBytes")), "Frames of the camera"],
    ["Received", formatFlow(current.receivedSize, rate("receivedBytes")), "Results"],
  ];
}

function formatTime(ms) {
  if (ms === null) return "–";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}\u00a0ms`;
}

function formatCount(number) {
  return number === null ? "–" : number.toLocaleString("en-GB");
}

function formatFlow(size, bytesPerSecond) {
  if (!size) return "–";
  return `${size.width}\u00a0×\u00a0${size.height}, ${formatSpeed(bytesPerSecond)}`;
}

function formatSpeed(bytes) {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)}\u00a0kB/s` : `${(bytes / 1e6).toFixed(1)}\u00a0MB/s`;
}
