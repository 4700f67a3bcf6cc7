/** The options of the page `/live`, from its address. */

import { Problem } from "../api/problem.js";

const DEFAULTS = {
  background: "blur:3", model: "auto", smoothing: "0.5", camera: "", transport: "websocket", mirror: "false",
};
const TRANSPORTS = ["websocket", "webrtc"];
const TRANSPARENT = "none";

/**
 * Reads the address of the page. The server checks the values of the stream.
 *
 * @param {URL} url  `?background=blur:3|#20639b|none&model=&smoothing=&camera=&transport=&mirror=#key=`;
 *   `camera` is part of a camera's name
 * @returns {{stream: object, camera: string, transport: string, mirror: boolean, key: string}}
 * @throws {Problem} the address has an unknown parameter or a wrong value
 */
export function readBroadcastOptions(url) {
  const unknown = [...url.searchParams.keys()].filter((name) => !(name in DEFAULTS));
  if (unknown.length) {
    throw wrongAddress(`${unknown.join(", ")} is unknown. Parameters are ${Object.keys(DEFAULTS).join(", ")}.`);
  }
  const options = { ...DEFAULTS, ...Object.fromEntries(url.searchParams) };
  if (url.hash && !url.hash.startsWith("#key=")) {
    throw wrongAddress(`${url.hash} is not part of the parameters. Write # as %23, as in background=%2320639b.`);
  }
  if (!TRANSPORTS.includes(options.transport)) throw wrongAddress(`transport is ${TRANSPORTS.join(" or ")}.`);
  if (!["true", "false"].includes(options.mirror)) throw wrongAddress("mirror is true or false.");
  if (options.background === TRANSPARENT && options.transport === "webrtc") {
    throw wrongAddress("WebRTC has no transparency: background=none needs transport=websocket.");
  }
  return {
    stream: streamOptions(options),
    camera: options.camera,
    transport: options.transport,
    mirror: options.mirror === "true",
    // After "#", because browsers do not send that part to the server, whose log has addresses.
    key: new URLSearchParams(url.hash.slice(1)).get("key") ?? "",
  };
}

function streamOptions({ background, model, smoothing }) {
  const common = { model, smoothing: Number(smoothing) };
  // Of the formats with transparency, WebP is the smallest.
  if (background === TRANSPARENT) return { ...common, output: "cutout", format: "webp" };
  return { ...common, output: "composite", background };
}

function wrongAddress(detail) {
  return new Problem({ title: "The address of this page is wrong", detail });
}
