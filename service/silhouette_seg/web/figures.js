/** What a stream's counts say, in words. Pure. */

/** @returns {number | null} nearest rank; null of no values */
export function percentile(values, share) {
  const ranked = [...values].sort((a, b) => a - b);
  return ranked[Math.max(0, Math.ceil(share * ranked.length) - 1)] ?? null;
}

/**
 * @typedef {object} Counts  of a stream's `stats()`, and the time
 * @property {number} atMs
 * @property {number} shown  frames so far
 * @property {number[]} roundTripsMs  of late
 * @property {number[]} serverMs  of late; empty where the transport does not tell
 * @property {number | null} heldBack  camera frames not sent so far
 * @property {number} skipped  frames sent and not answered with a picture so far
 * @property {number} sentBytes
 * @property {number} receivedBytes
 * @property {Size | null} sentSize
 * @property {Size | null} receivedSize
 */

/**
 * @param {Counts} before
 * @param {Counts} now
 * @returns {[string, string, string][]} label, value, and a longer explanation
 */
export function figureRows(before, now) {
  const seconds = (now.atMs - before.atMs) / 1000;
  const rate = (name) => (now[name] - before[name]) / seconds;
  return [
    ["Frames a second", rate("shown").toFixed(1), "Results shown in the last second"],
    ["Server time", time(percentile(now.serverMs, 0.5)), "Half of the frames took no longer in the server, waiting included"],
    ["Round trip p50", time(percentile(now.roundTripsMs, 0.5)), "Half of the latest took no longer"],
    ["Round trip p95", time(percentile(now.roundTripsMs, 0.95)), "95 of 100 of the latest took no longer"],
    ["Held back here", count(now.heldBack), "Camera frames not sent, because answers were still due"],
    ["Not returned", count(now.skipped), "Frames sent for which the server had a newer one, or that were lost"],
    ["Sent", flow(now.sentSize, rate("sentBytes")), "The camera's frames"],
    ["Received", flow(now.receivedSize, rate("receivedBytes")), "The results"],
  ];
}

function time(ms) {
  if (ms === null) return "–";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}\u00a0ms`;
}

function count(number) {
  return number === null ? "–" : number.toLocaleString("en-GB");
}

function flow(size, bytesPerSecond) {
  if (!size) return "–";
  return `${size.width}\u00a0×\u00a0${size.height}, ${speed(bytesPerSecond)}`;
}

function speed(bytes) {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)}\u00a0kB/s` : `${(bytes / 1e6).toFixed(1)}\u00a0MB/s`;
}
