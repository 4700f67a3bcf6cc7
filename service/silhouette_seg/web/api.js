import { problemFrom, unreachable } from "./problem.js";

/** Relative to the page, so that a proxy may serve everything under a prefix. */
export const SEGMENT_PATH = "v1/segment";
const RTC_PATH = "v1/webrtc";

/** @returns {Promise<{auto: string, models: {name: string}[]}>} */
export async function fetchModels(key) {
  const response = await call("v1/models", { headers: authorization(key) });
  return response.json();
}

/** @returns {Promise<boolean>} whether the service takes work now */
export async function isReady() {
  try {
    return (await fetch("readyz")).ok;
  } catch {
    return false;
  }
}

/**
 * One photo in, one image out.
 *
 * @param {File} photo
 * @param {[string, string | File][]} parameters
 * @returns {Promise<{blob: Blob, headers: Headers, roundTripMs: number}>}
 * @throws {import("./problem.js").Problem} or an AbortError
 */
export async function segment(photo, parameters, { key, signal }) {
  const body = new FormData();
  body.append("image", photo, photo.name);
  for (const [name, value] of parameters) body.append(name, value);

  const started = performance.now();
  const response = await call(SEGMENT_PATH, { method: "POST", body, signal, headers: authorization(key) });
  const blob = await received(response);
  return { blob, headers: response.headers, roundTripMs: performance.now() - started };
}

/**
 * Offers a peer connection.
 *
 * @param {string} offer  SDP with its candidates
 * @param {Record<string, string | number>} options
 * @returns {Promise<{id: string, answer: string}>} the id is what the two below need
 */
export async function openRtc(offer, options, key) {
  const headers = { "Content-Type": "application/sdp", ...authorization(key) };
  const response = await call(`${RTC_PATH}?${new URLSearchParams(options)}`, { method: "POST", body: offer, headers });
  const id = response.headers.get("Location").split("/").pop();
  return { id, answer: await response.text() };
}

/** From the next frame on. */
export async function configureRtc(id, options, key) {
  const headers = { "Content-Type": "application/json", ...authorization(key) };
  await call(`${RTC_PATH}/${id}`, { method: "PATCH", body: JSON.stringify(options), headers });
}

/** Frees its place; also while the page goes away. A server that does not hear it finds out later. */
export async function closeRtc(id, key) {
  const request = { method: "DELETE", keepalive: true, headers: authorization(key) };
  await fetch(`${RTC_PATH}/${id}`, request).catch(() => {});
}

async function call(path, request) {
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!response.ok) throw await problemFrom(response);
  return response;
}

async function received(response) {
  try {
    return await response.blob();
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
}

function authorization(key) {
  return key ? { "X-Api-Key": key } : {};
}
